"""launch/restart.sh repeats a command on exit code 75 only; SIGTERM goes down, codes go up."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESTART = ["bash", str(ROOT / "launch/restart.sh")]
# What was started in the background ignores SIGINT, and bash cannot trap what is ignored.
HEAR = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""
HEARS = [sys.executable, "-c", HEAR]

# Exits with the next number of the file CODES, and notes its start in the file STARTS.
COUNTED = """
echo start >> "$1/starts"
read -r -a codes < "$1/codes"
exit "${codes[$(($(wc -l < "$1/starts") - 1))]}"
"""
# Has no handler yet, as Python in its first moments.
DIES = "echo runs; exec sleep 60"
# Says that it runs, and needs a moment after SIGTERM to save what it has.
SAVES = """
trap 'sleep 0.3; echo saved; exit "$1"' TERM
echo runs
while :; do sleep 0.05; done
"""


def counted(tmp_path: pathlib.Path, codes: str) -> tuple[subprocess.CompletedProcess, int]:
    (tmp_path / "codes").write_text(codes + "\n")
    command = [*RESTART, "bash", "-c", COUNTED, "counted", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done, len((tmp_path / "starts").read_text().splitlines())


def test_75_twice_and_then_finished(tmp_path):
    done, starts = counted(tmp_path, "75 75 0 9")
    assert (done.returncode, starts) == (0, 3)
    assert done.stderr.splitlines() == [
        "vidact: exit code 75: preempted, all saved; start 2 follows",
        "vidact: exit code 75: preempted, all saved; start 3 follows",
    ]


@pytest.mark.parametrize("code", [2, 1, 137])
def test_any_other_code_fails_loudly_at_once(tmp_path, code):
    done, starts = counted(tmp_path, f"75 {code} 0")
    assert (done.returncode, starts) == (code, 2)
    assert done.stderr.splitlines()[-1] == f"error: bash: failed; exit code {code} at start 2"


def stopped(code: int, how: signal.Signals, script: str = SAVES) -> tuple[int, str, str]:
    """Signals the wrapper once its command runs: exit code, output and errors."""
    command = [*HEARS, *RESTART, "bash", "-c", script, "saves", str(code)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "runs\n"
        process.send_signal(how)
        out, errors = process.communicate(timeout=60)
        return process.returncode, out, errors


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_reaches_the_command_whose_75_is_passed_on(how):
    code, out, errors = stopped(75, how)
    assert (code, out) == (75, "saved\n")
    assert errors == "vidact: bash: was told to stop, all saved; exit code 75 at start 1\n"


@pytest.mark.parametrize("wanted", [0, 2])
def test_a_stopped_command_decides_the_code(wanted):
    code, out, errors = stopped(wanted, signal.SIGTERM)
    assert (code, out) == (wanted, "saved\n")
    assert errors == ("error: bash: failed; exit code 2 at start 1\n" if wanted else "")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_before_the_command_could_hear_of_it_is_no_error(how):
    code, out, errors = stopped(0, how, DIES)
    assert (code, out) == (75, "")
    assert errors == "vidact: bash: was told to stop, and saved nothing; exit code 75 at start 1\n"


def test_a_command_that_alone_gets_sigterm_starts_again(tmp_path):
    # As where one machine of several is told to stop and the trainer exits 75 on all.
    script = f'echo $$ >> {tmp_path}/pids; [ "$(wc -l < {tmp_path}/pids)" = 2 ] && exit; ' + SAVES
    command = [*RESTART, "bash", "-c", script, "saves", "75"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "runs\n"
        os.kill(int((tmp_path / "pids").read_text()), signal.SIGTERM)
        assert process.communicate(timeout=60)[0] == "saved\n"
        assert process.returncode == 0
    assert len((tmp_path / "pids").read_text().splitlines()) == 2


def test_arguments_are_passed_as_they_are():
    arguments = ["two words", "", "*", "$HOME", "--config.train.freeze=('a','b')"]
    done = subprocess.run(
        [*RESTART, "printf", "<%s>", *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout == "".join(f"<{argument}>" for argument in arguments)


def test_no_command_is_one_line():
    done = subprocess.run(RESTART, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: launch/restart.sh: no command; see launch/restart.sh --help"
    ]
