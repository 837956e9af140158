"""The one exception that is meant for people rather than for debuggers."""


class UserError(Exception):
    """Something the user can mend: the message names the culprit and the remedy in one line.

    Commands print it as `error: <message>` on standard error and exit with code 2; see
    `vidact.command.run`.
    """
