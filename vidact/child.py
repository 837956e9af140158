"""A child process that is told what its parent is told."""

import signal
import subprocess
from collections.abc import Mapping, Sequence

from vidact.training import preemption

GRACE = 3.0  # seconds


def run(line: Sequence[str], environment: Mapping[str, str]) -> int:
    """Runs a command to its end and passes SIGTERM on to it meanwhile; only for the main thread.

    Args:
      line: the command.
      environment: of the child, all of it.

    Returns:
      Its exit code; 128 + N where signal N ended it; `preemption.EXIT_CODE` where it was told to go
      but had finished.

    Raises:
      KeyboardInterrupt: the child has ended, too.
    """
    told: list[int] = []
    child: subprocess.Popen | None = None

    def pass_on(number: int, _) -> None:
        told.append(number)
        if child is not None:
            child.send_signal(number)

    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        child = subprocess.Popen(line, env=environment)
        if told:  # before there was a child
            child.terminate()
        code = _wait(child)
    finally:
        signal.signal(signal.SIGTERM, before)
    if code < 0:
        return 128 - code
    return code or (preemption.EXIT_CODE if told else 0)


def _wait(child: subprocess.Popen) -> int:
    try:
        return child.wait()
    except KeyboardInterrupt:
        try:
            child.wait(GRACE)  # a terminal interrupts both, `kill -INT` the parent alone
        except subprocess.TimeoutExpired:
            child.terminate()
            child.wait()
        raise
