"""What launch/sky.yaml runs on a machine: arguments, with and without several nodes."""

import os
import pathlib
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
TASK = yaml.safe_load((ROOT / "launch/sky.yaml").read_text())
NODES = {
    "SKYPILOT_NODE_IPS": "10.0.0.7\n10.0.0.9",
    "SKYPILOT_NUM_NODES": "2",
    "SKYPILOT_NODE_RANK": "1",
}


def run(tmp_path: pathlib.Path, extra: str, nodes: dict[str, str]) -> list[str]:
    """The arguments that `.venv/bin/python`, a stand-in, was started with."""
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/usr/bin/env bash\nprintf '%s\\n' \"$@\"\n")
    python.chmod(0o755)
    (tmp_path / "launch").symlink_to(ROOT / "launch")
    variables = {"EXTRA": extra, "ARGUMENTS": "--config a --workdir='two words'", **nodes}
    done = subprocess.run(
        ["bash", "-c", TASK["run"]],
        cwd=tmp_path,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("extra", ["tpu", "gpu"])
def test_one_node_and_tpu_pods_find_each_other(tmp_path, extra):
    nodes = NODES if extra == "tpu" else {**NODES, "SKYPILOT_NUM_NODES": "1"}
    wanted = ["-m", "vidact.train", "--config", "a", "--workdir=two words"]
    assert run(tmp_path, extra, nodes) == wanted


def test_nodes_with_gpus_are_told_of_each_other(tmp_path):
    told = run(tmp_path, "gpu", NODES)
    assert told[5:] == ["--coordinator", "10.0.0.7:8476", "--processes", "2", "--process", "1"]
