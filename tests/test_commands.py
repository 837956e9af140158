"""Every command explains itself, and a user's mistake is one line and exit code 2."""

import subprocess
import sys

import pytest

from tests import tiny

COMMANDS = ("train", "sample", "evaluate", "export", "demos", "quickstart")
TRAIN = ("train", "--config", str(tiny.ROOT / "configs/base.py"))
ENCODE = ("encode", "--config", str(tiny.ROOT / "configs/base.py"), "--out=W")


def run(*arguments: str) -> subprocess.CompletedProcess:
    line = [sys.executable, "-m", f"vidact.{arguments[0]}", *arguments[1:]]
    return subprocess.run(line, cwd=tiny.ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_examples(command):
    done = run(command, "--help")
    assert done.returncode == 0
    assert f"python -m vidact.{command}" in done.stdout
    assert "Examples:" in done.stdout


def one_line(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((*TRAIN, "--workdir=W", "--config.data.rot=x"), "config.data.rot"),
        ((*TRAIN, "--workdir=W", "--config.train.steps=many"), "config.train.steps=many"),
        ((*TRAIN, "--workdir=W"), "config.data.root"),
        ((*TRAIN, "--config.data.root=x"), "--workdir"),
        ((*TRAIN, "--workdir=W", "--config.data.sources=(('/nowhere', 1.0),)"), "/nowhere"),
        ((*ENCODE, "--config.data.sources=(('/nowhere', 1.0),)"), "/nowhere"),
        (("train", "--config", "configs/nothing.py", "--workdir=W"), "configs/nothing.py"),
        ((*TRAIN, "--workdir=W", "--config.data.root=/nowhere"), "/nowhere"),
        (("evaluate", "--checkpoint", "/nowhere"), "/nowhere"),
        (("export", "--checkpoint", "/nowhere", "--to", "X"), "/nowhere"),
        (("sample", "--checkpoint", "/nowhere"), "/nowhere"),
        (("demos", "--out", "x/y/1.0.0", "--config.demos.tasks=('juggle',)"), "juggle"),
        (("evaluate", "--checkpoint", "runs", "--step", "x"), "--step"),
        (("export", "--checkpoint", "runs"), "--to"),
        (("train",), "--config"),
        ((*TRAIN, "--workdir=README.md/run", "--config.data.root=x"), "README.md"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(arguments, named):
    assert named in one_line(run(*arguments))
    assert not (tiny.ROOT / "W").exists()


def test_help_waits_for_no_jax():
    code = "import sys, vidact.train; print('jax' in sys.modules)"
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tiny.ROOT, check=True)
    assert done.stdout.strip() == "False"
