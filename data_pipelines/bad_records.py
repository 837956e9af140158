"""Records that cannot be read: an error, or a stated substitute. Never silence."""

import pathlib
import threading

from vidact.errors import UserError

POLICIES = ("error", "skip")
_ATTEMPTS = 100


class BadRecords:
    """What was met so far. Thread-safe.

    Attributes:
      substituted: number of windows that another one stood in for.
      reasons: what was wrong, each once, in the order of meeting.
    """

    def __init__(self, policy: str):
        """Args: policy: "error" passes the first on; "skip" notes it.

        Raises:
          UserError: no such policy.
        """
        if policy not in POLICIES:
            raise UserError(
                f"config.data.on_bad_record={policy!r}: choose from {', '.join(POLICIES)}"
            )
        self.policy = policy
        self.substituted = 0
        self.reasons: dict[str, None] = {}
        self._file: pathlib.Path | None = None
        self._lock = threading.Lock()

    def note(self, error: UserError) -> None:
        """Writes down a record, or passes the error on.

        Raises:
          UserError: `error`, if the policy says so.
        """
        if self.policy == "error":
            raise error
        with self._lock:
            if str(error) in self.reasons:
                return
            self.reasons[str(error)] = None
            if self._file is not None:
                self._append(self._file, [str(error)])

    def write_to(self, file: pathlib.Path) -> None:
        """Lists what was bad so far, and from now on, in a file: a line each, none twice."""
        with self._lock:
            known = file.read_text().splitlines() if file.is_file() else []
            self._file = file
            self._append(file, [reason for reason in self.reasons if reason not in known])

    def _append(self, file: pathlib.Path, lines: list[str]) -> None:
        if lines:
            with file.open("a") as opened:
                opened.writelines(f"{line}\n" for line in lines)

    def substitute(self, index: int, begin: int, end: int, attempt: int) -> int:
        """The window that stands in for `index`: a pure function of its arguments.

        Args:
          index: the window that cannot be read.
          begin, end: its data set's windows.
          attempt: 0 for the first substitute, 1 if that cannot be read either, and so on.

        Raises:
          UserError: too many in a row: this is no data set with a few bad records.
        """
        if attempt == _ATTEMPTS:
            raise UserError(
                f"{_ATTEMPTS} windows in a row cannot be read, the last because of "
                f"{next(reversed(self.reasons))}"
            )
        with self._lock:
            self.substituted += attempt == 0
        # An odd stride of the golden ratio's size: neighbours, mostly of the same bad episode, are
        # left at once, and two bad windows rarely share a substitute.
        return begin + (index - begin + (attempt + 1) * 0x9E3779B1) % (end - begin)
