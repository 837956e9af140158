"""launch/detached.sh: a run outlives the shell that started it, and is found again from another."""

import pathlib
import shutil
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def call(tmp_path):
    """`bash launch/detached.sh` in a folder of its own."""
    (tmp_path / "launch").mkdir()
    for name in ("detached.sh", "restart.sh"):
        shutil.copy(ROOT / "launch" / name, tmp_path / "launch")

    def detached(*arguments: str) -> subprocess.CompletedProcess:
        command = ["bash", str(tmp_path / "launch/detached.sh"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    yield detached
    detached("stop")


def wait_for_code(call) -> str:
    """The code is written a moment after the run has ended."""
    for _ in range(600):
        if code := call("code").stdout:
            return code.strip()
        time.sleep(0.1)
    raise AssertionError("no code")


def test_the_code_and_the_output_are_kept(call):
    assert call("running").returncode == 1
    done = call("start", "bash", "-c", 'echo "$1"; exit 3', "name", "two words")
    assert done.returncode == 0, done.stderr
    assert call("follow").returncode == 0
    assert call("code").stdout == "3\n"
    assert call("running").returncode == 1
    assert "two words\n" in call("follow").stdout
    done = call("stop")
    assert done.returncode == 0 and done.stderr.endswith(": nothing runs here\n")


def test_a_second_start_leaves_the_first_alone_and_stop_lets_it_save(call, tmp_path):
    loop = 'trap "echo saved; exit 75" TERM; echo runs >> log; while :; do sleep 0.05; done'
    for _ in range(2):
        assert call("start", "bash", "-c", f"cd {tmp_path}; {loop}").returncode == 0
        assert call("running").returncode == 0
    while not (tmp_path / "log").exists():
        time.sleep(0.05)
    assert call("code").stdout == ""
    assert call("stop").returncode == 0
    assert wait_for_code(call) == "75"
    assert (tmp_path / "log").read_text() == "runs\n"
    assert "saved\n" in call("follow").stdout
