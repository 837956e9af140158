"""Every parameter stays where tests/goldens/sharding has it, on each pod.

After a change that is meant, write them anew and look at what `git diff` shows:

    python -m tests.training.test_snapshots
"""

import json
import pathlib

import jax
import pytest

from vidact import command
from vidact.models import registry
from vidact.nn import flat
from vidact.training import sharding

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests/goldens/sharding"
CONFIGS = ("base", "metaworld", "joint_dit", "covar-tiny", "covar_1b4", "libero90_refine")
PODS = {  # chips, slices
    "v5e-1x1": (1, 1),
    "v5e-4x4": (16, 1),
    "v5e-4x4-2slices": (32, 2),
    "v6e-16x16": (256, 1),
    "v5p-4x4x4": (64, 1),
    "v4-4x4x4": (64, 1),
}


def snapshot(name: str, chips: int, slices: int) -> dict:
    """The mesh, the share of bytes that stays whole and, by path, what splits each axis."""
    file, _, choice = name.partition("-")
    path = ROOT / f"configs/{file}.py"
    config = command.load_config(f"{path}:{choice}" if choice else path)
    sides = sharding.sides(config.mesh, chips, slices)
    mesh = jax.sharding.AbstractMesh(sides, sharding.AXES)
    shapes = flat.blueprint(registry.maker(config)).shapes
    shardings = sharding.parameter_shardings(shapes, mesh, config.mesh.rules)
    share = sharding.replicated(shapes, shardings)
    return {
        "mesh": dict(mesh.shape),
        "replicated": f"{share:.2%}",
        "parameters": {
            path: f"{list(shapes[path].shape)} {json.dumps(list(where.spec))}"
            for path, where in shardings.items()
        },
    }


@pytest.mark.parametrize("pod", PODS)
@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_lie_where_they_did(name, pod):
    known = json.loads((FOLDER / f"{name}.{pod}.json").read_text())
    told = "if it is meant: python -m tests.training.test_snapshots"
    assert snapshot(name, *PODS[pod]) == known, told


def test_no_snapshot_is_left_over():
    wanted = {f"{name}.{pod}.json" for name in CONFIGS for pod in PODS}
    assert {path.name for path in FOLDER.iterdir()} == wanted


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for config_name in CONFIGS:
        for pod_name, size in PODS.items():
            text = json.dumps(snapshot(config_name, *size), indent=1) + "\n"
            (FOLDER / f"{config_name}.{pod_name}.json").write_text(text)
