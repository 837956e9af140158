"""Starts real training processes that form one run, and waits for how they end."""

import os
import pathlib
import re
import socket
import subprocess
import time
from collections.abc import Callable, Sequence

from tests import tiny

TIMEOUT = 900.0


def start(
    line: Sequence[str], count: int, log: pathlib.Path, devices: int = 1
) -> list[subprocess.Popen]:
    """Starts `count` processes of a `tiny.train_command`.

    Args:
      line: the command line; where count > 1 the flags that join them are added.
      count: how many.
      log: what process I prints is appended to this name with `.I.log`.
      devices: virtual CPU devices of each.

    Returns:
      The subprocesses, by number.
    """
    address = f"localhost:{free_port()}"
    joined = [f"--coordinator={address}", f"--processes={count}"] if count > 1 else []
    lines = [
        [*line, *joined, *([f"--process={number}"] if joined else [])] for number in range(count)
    ]
    return start_each(lines, log, devices)


def start_each(
    lines: Sequence[Sequence[str]], log: pathlib.Path, devices: int = 1
) -> list[subprocess.Popen]:
    """Starts a process for each command line; `log` and `devices` as in `start`."""
    found = re.sub(r"--xla_force_host_platform_device_count=\S+", "", os.getenv("XLA_FLAGS", ""))
    flags = f"{found} --xla_force_host_platform_device_count={devices}".strip()
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    started = []
    for number, line in enumerate(lines):
        with path(log, number).open("ab") as out:
            started.append(
                subprocess.Popen(line, stdout=out, stderr=out, cwd=tiny.ROOT, env=environment)
            )
    return started


def path(log: pathlib.Path, number: int) -> pathlib.Path:
    """Where process `number` prints to."""
    return log.with_name(f"{log.name}.{number}.log")


def codes(processes: Sequence[subprocess.Popen], seconds: float = TIMEOUT) -> list[int]:
    """Exit codes of all; those that have not ended by then are killed, and it is an error.

    Raises:
      TimeoutError: names them.
    """
    deadline = time.monotonic() + seconds
    late = []
    for number, process in enumerate(processes):
        try:
            process.wait(max(deadline - time.monotonic(), 0.01))
        except subprocess.TimeoutExpired:
            late.append(number)
    for number in late:
        processes[number].kill()
        processes[number].wait()
    if late:
        raise TimeoutError(f"processes {late} did not end within {seconds} s")
    return [process.returncode for process in processes]


def finish(line: Sequence[str], count: int, log: pathlib.Path, devices: int = 1) -> None:
    """Runs the processes to their end.

    Raises:
      RuntimeError: one of them failed; the message ends with what it printed.
    """
    ended = codes(start(line, count, log, devices))
    for number, code in enumerate(ended):
        if code:
            told = path(log, number).read_text()[-3000:]
            raise RuntimeError(f"process {number} of {ended} ended with code {code}:\n{told}")


def wait_until(
    true: Callable[[], bool],
    processes: Sequence[subprocess.Popen],
    log: pathlib.Path,
    every: float = 0.01,
) -> None:
    """Returns once `true()`; the processes, started with `log`, are to run on until then.

    Raises:
      RuntimeError: one has ended; the message ends with what the first such printed.
      TimeoutError: it took too long.
    """
    deadline = time.monotonic() + TIMEOUT
    while not true():
        if gone := [i for i, process in enumerate(processes) if process.poll() is not None]:
            told = path(log, gone[0]).read_text()[-3000:]
            raise RuntimeError(f"process {gone[0]} ended by itself:\n{told}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing within {TIMEOUT} s")
        time.sleep(every)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]
