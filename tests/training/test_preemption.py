"""SIGTERM before there is anything to save: one line and exit code 75, whatever is waited for."""

import pathlib
import re
import signal
import socket
import subprocess
import sys

import pytest

from tests import several, tiny

NOTHING = "told to go: nothing to save yet; the same command starts again\n"
SECONDS = 20.0  # until it has gone

# What vidact.train does about SIGTERM; `begins`: as if JAX took it over while it was on its way.
PROGRAM = """
import os, signal, sys, time
import jax
from vidact.training import preemption

def go(when):
    if sys.argv[1] == when:
        os.kill(os.getpid(), signal.SIGTERM)

preemption.may_end()
go("begins")
with preemption.watched():
    if sys.argv[1] == "prepares":
        go("prepares")
        time.sleep(60)
    told = preemption.reached(1)
    assert not told or sys.argv[1] == "begins"
    go("steps")
    while not preemption.reached(2):
        time.sleep(0.01)
    preemption.leave(2)
"""


@pytest.fixture
def start(tmp_path):
    """Starts `python ARGUMENTS`; it is gone when the test ends."""
    started = []

    def run(*arguments: str) -> subprocess.Popen:
        started.extend(several.start_each([[sys.executable, *arguments]], tmp_path / "out"))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def train(start, tmp_path):
    """Starts vidact.train; nobody looks at its data before SIGTERM."""
    line = tiny.train_command(tmp_path / "data", tmp_path / "run")[1:]
    return lambda *arguments: start(*line, *arguments)


def _told(process: subprocess.Popen, tmp_path: pathlib.Path) -> tuple[int, str]:
    """Exit code and all that was printed."""
    (code,) = several.codes([process], SECONDS)
    return code, several.path(tmp_path / "out", 0).read_text()


def _hears_sigterm(process: subprocess.Popen) -> bool:
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    (caught,) = re.findall(r"SigCgt:\s+(\w+)", status)
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def _has_jax(process: subprocess.Popen) -> bool:
    return "jaxlib" in pathlib.Path(f"/proc/{process.pid}/maps").read_text()


def _answers(port: int) -> bool:
    with socket.socket() as asks:
        return asks.connect_ex(("localhost", port)) == 0


def test_right_after_the_start(train, tmp_path):
    process = train()
    several.wait_until(lambda: _hears_sigterm(process), [process], tmp_path / "out", 0.001)
    assert not _has_jax(process)  # whose import takes seconds
    process.terminate()
    assert _told(process, tmp_path) == (75, NOTHING)


def test_the_first_waits_for_another_that_never_comes(train, tmp_path):
    port = several.free_port()
    process = train(f"--coordinator=localhost:{port}", "--processes=2", "--process=0")
    several.wait_until(lambda: _answers(port), [process], tmp_path / "out", 0.1)
    process.terminate()
    assert _told(process, tmp_path) == (75, NOTHING)


def test_another_waits_for_the_first_that_never_answers(train, tmp_path):
    with socket.create_server(("localhost", 0)) as first:
        first.settimeout(several.TIMEOUT)
        address = f"localhost:{first.getsockname()[1]}"
        process = train(f"--coordinator={address}", "--processes=2", "--process=1")
        with first.accept()[0]:
            process.terminate()
            assert _told(process, tmp_path) == (75, NOTHING)


@pytest.mark.parametrize(
    ("when", "line"),
    [
        ("prepares", NOTHING),
        ("begins", "told to go: saved step 2; the same command goes on from it\n"),
        ("steps", "told to go: saved step 2; the same command goes on from it\n"),
    ],
)
def test_of_one_process_the_first_step_decides(start, tmp_path, when, line):
    assert _told(start("-c", PROGRAM, when), tmp_path) == (75, line)
