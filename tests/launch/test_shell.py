"""Every shell script of the repository passes ShellCheck and explains itself."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAUNCHERS = ("tpu_vm.sh", "xpk.sh", "slurm.sh", "machine.sh", "restart.sh", "detached.sh")


def scripts() -> list[str]:
    """All *.sh that git knows, or would add, and what CI runs."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.sh"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [".ci/run", *listed.stdout.splitlines()]


def run(*command: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def shellcheck(*arguments: str) -> subprocess.CompletedProcess:
    return run(str(pathlib.Path(sys.executable).parent / "shellcheck"), *arguments)


def test_shellcheck_has_nothing_to_say():
    found = scripts()
    assert {f"launch/{name}" for name in LAUNCHERS} <= set(found)
    done = shellcheck("--external-sources", *found)
    assert (done.returncode, done.stdout) == (0, "")


def test_shellcheck_would_find_a_missing_quote(tmp_path):
    (tmp_path / "bad.sh").write_text("#!/usr/bin/env bash\nrm $1\n")
    done = shellcheck(str(tmp_path / "bad.sh"))
    assert done.returncode == 1
    assert "SC2086" in done.stdout


@pytest.mark.parametrize("name", LAUNCHERS)
def test_help_has_examples_and_needs_no_cloud(name):
    done = run("bash", f"launch/{name}", "--help")
    assert done.returncode == 0, done.stderr
    assert f"bash launch/{name} " in done.stdout or f"launch/{name} \\" in done.stdout
    assert not any(line.startswith("#") for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("tpu_vm.sh", "error: launch/tpu_vm.sh: '': train, stop or delete; see --help"),
        ("tpu_vm.sh train --zone", "error: launch/tpu_vm.sh: --zone needs a value; see --help"),
        ("tpu_vm.sh train --zone z", "error: launch/tpu_vm.sh: --name and --zone are needed"),
        (
            "tpu_vm.sh train --name n --zone z --type v9-8",
            "error: --type 'v9-8': v4-N, v5litepod-N, v5p-N or v6e-N",
        ),
        (
            "tpu_vm.sh train --name n --zone z --type v6e-8",
            "error: launch/tpu_vm.sh train: the arguments of vidact.train are missing after --",
        ),
        ("tpu_vm.sh train --spto", "error: launch/tpu_vm.sh: --spto: unknown argument"),
        ("slurm.sh --config x", "error: launch/slurm.sh: no Slurm job; submit it"),
        ("machine.sh", "error: launch/machine.sh: no extra; name tpu or gpu"),
        ("detached.sh begin", "error: launch/detached.sh: 'begin': start, running, follow"),
    ],
)
def test_a_mistake_is_one_line(command, told):
    done = run("bash", *f"launch/{command}".split(), SLURM_JOB_ID="")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(told)


def test_arguments_survive_two_shells(tmp_path):
    # What ssh hands to the worker's shell is one string.
    wanted = ["--config.train.freeze=('^a/','b')", "two words", "$HOME", 'a"b']
    command = ["bash", "launch/tpu_vm.sh", "train", "--name", "n", "--zone", "z"]
    done = run(*command, "--type", "v6e-8", "--dry-run", "--", *wanted)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "detached.sh" in line]
    # The outer shell's arguments, then the worker's.
    outer = run("bash", "-c", f"printf '%s\\0' {line}").stdout.split("\0")
    (remote,) = [word for word in outer if word.startswith("--command=")]
    inner = run("bash", "-c", "printf '%s\\0' " + remote.removeprefix("--command="))
    assert inner.stdout.split("\0")[-5:-1] == wanted
