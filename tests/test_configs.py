"""Every configuration fits together, and the paper's model has the paper's size."""

import pathlib
import re

import pytest

from tests.training import meshes
from vidact import command
from vidact.encoders.video import codec
from vidact.errors import UserError
from vidact.models import clips, registry
from vidact.nn import flat
from vidact.training import checks, describe, sharding, state

FOLDER = pathlib.Path(__file__).parent.parent / "configs"


def names() -> list[str]:
    """Each file, or FILE:NAME for each of its choices."""
    found = []
    for path in sorted(FOLDER.glob("[a-z]*.py")):
        listed = re.search(r"^CHOICES = ", path.read_text(), re.M)
        if not listed:
            found.append(path.name)
            continue
        with pytest.raises(UserError, match="no such configuration") as error:
            command.load_config(f"{path}:none")
        choices = str(error.value).rpartition("one of ")[2].split(", ")
        found += [f"{path.name}:{choice}" for choice in choices]
    return found


def counts(name: str) -> dict[str, int]:
    config = command.load_config(FOLDER / name)
    line = describe.parameter_line(flat.blueprint(registry.maker(config)).shapes)
    return {part: int(count) for part, count in re.findall(r"(\w+): (\d+)", line)}


@pytest.mark.parametrize("name", names())
def test_a_configuration_fits_together_and_onto_a_mesh(name):
    config = command.load_config(FOLDER / name)
    checks.check_sizes(config)
    data = config.data  # two rooms that do not know each other have to agree
    assert clips.grid(config, data.frames, *data.resolution) == codec.latent_shape(config)[:3]
    plan = flat.blueprint(registry.maker(config))
    state.check_freeze(plan.shapes, config.train.freeze)
    mesh = meshes.mesh(2, 2, 2)
    shardings = sharding.parameter_shardings(plan.shapes, mesh, config.mesh.rules)
    assert shardings.keys() == plan.shapes.keys()
    assert sharding.replicated(plan.shapes, shardings) < 0.01


def test_the_paper_s_model_has_its_size_and_stdit3_s_video_branch():
    found = counts("covar_1b4.py")
    assert found["video"] == 1_207_643_972
    assert 1.40e9 <= found["total"] <= 1.51e9
    assert list(found) == ["total", "video", "action", "bridge", "decoder", "refiner"]
    assert 25e6 < counts("covar.py:small")["total"] < 35e6
    assert 130e6 < counts("covar.py:base")["total"] < 170e6


def test_ablations_that_are_compared_have_as_many_parameters():
    whole = counts("ablations.py:bridge")["total"]
    for name in ("self_attention_matched", "cross_attention", "joint_dit"):
        assert abs(counts(f"ablations.py:{name}")["total"] / whole - 1) < 0.03, name


def test_a_file_of_one_configuration_has_no_others():
    with pytest.raises(UserError, match="leave it out"):
        command.load_config(FOLDER / "base.py:small")
