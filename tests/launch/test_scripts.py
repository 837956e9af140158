"""launch/*.sh stop in one line where something is missing, and cost nothing the second time."""

import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "launch"))

import install  # noqa: E402


def bash(script: str, *arguments: str) -> subprocess.CompletedProcess:
    command = ["bash", "-c", script, "bash", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_apt_line_is_printed_where_python_cannot_make_environments(tmp_path):
    python = tmp_path / "python3"
    python.write_text(
        '#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; esac\n' + f'exec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    script = 'source launch/setup.sh; set_up "$1/.venv" "$1/python3" test'
    done = bash(script, str(tmp_path))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.endswith("run: apt-get install -y python3-venv")
    assert not (tmp_path / ".venv").exists()


def test_an_interpreter_that_is_not_there_is_named():
    done = bash('bash launch/test.sh --python 3.9; exit "$?"')
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: python3.9: no such interpreter")


def test_only_torch_can_be_left_out():
    done = bash("bash launch/test.sh --without jax")
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["error: --without jax: only torch can be left out"]


def test_a_second_installation_costs_nothing():
    # Without this the test itself would install.
    assert install.read_stamp()[1], "this environment is not the lock's: run bash launch/test.sh"
    start = time.monotonic()
    command = [sys.executable, "launch/install.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "holds the locked versions" in done.stdout
    assert time.monotonic() - start < 5


def test_scripts_parse():
    for script in [*ROOT.glob("launch/*.sh"), ROOT / ".ci/run"]:
        assert bash('bash -n "$1"', str(script)).returncode == 0, script
