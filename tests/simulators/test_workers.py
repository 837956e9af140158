"""Worker processes: errors come back as errors, and nobody is left behind."""

import os
import signal
import subprocess
import sys
import time

import pytest

from vidact.errors import UserError
from vidact.simulators.workers import Workers


class Calculator:
    """Something to hold in a worker."""

    def __init__(self, offset: int):
        if offset < 0:
            raise UserError("offset: negative; give a positive one")
        self.offset = offset

    def add(self, value: int) -> int:
        return self.offset + value

    def divide(self, value: int) -> float:
        return self.offset / value

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def process(self) -> int:
        return os.getpid()

    def jax_is_loaded(self) -> bool:
        return "jax" in sys.modules


def test_results_come_with_their_index():
    with Workers(2, Calculator, 10) as group:
        assert dict(group.imap("add", [(i,) for i in range(7)])) == {i: 10 + i for i in range(7)}


def test_a_worker_imports_no_jax():
    with Workers(1, Calculator, 0) as group:
        assert dict(group.imap("jax_is_loaded", [()])) == {0: False}


def test_an_error_in_a_worker_reaches_the_caller_with_its_place():
    with (
        Workers(2, Calculator, 10) as group,
        pytest.raises(RuntimeError, match="ZeroDivisionError"),
    ):
        list(group.imap("divide", [(1,), (0,)]))


def test_an_error_for_the_user_stays_one():
    with pytest.raises(UserError, match="offset: negative"):
        Workers(2, Calculator, -1)


def test_a_killed_worker_is_reported():
    with Workers(1, Calculator, 0) as group, pytest.raises(RuntimeError, match="exit code -9"):
        list(group.imap("die", [()]))


def test_workers_end_with_a_killed_parent():
    script = (
        "import time; from vidact.simulators.workers import Workers;"
        "from tests.simulators.test_workers import Calculator;"
        "group = Workers(2, Calculator, 0);"
        "[group.send(i, 'process') for i in range(2)]; print(*group.gather(), flush=True);"
        "time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    workers = [int(word) for word in parent.stdout.readline().split()]
    assert len(workers) == 2
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while any(_runs(worker) for worker in workers):
        assert time.monotonic() < deadline, f"still running: {workers}"
        time.sleep(0.05)


def _runs(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
