"""Weights under the names of files: a map that loses nothing and says what does not fit."""

import csv
import re

import numpy as np
import pytest
from flax import nnx

from vidact.errors import UserError
from vidact.interop import keys, names
from vidact.models.covar.config import CoVARConfig
from vidact.models.covar.model import CoVAR
from vidact.nn import flat

CONFIG = CoVARConfig(
    depth=2,
    video_width=32,
    video_heads=2,
    action_width=16,
    action_heads=2,
    bridge_width=24,
    bridge_heads=2,
    latent_channels=3,
    text_width=8,
    text_depth=1,
    vocabulary=16,
    max_words=5,
    decoder_channels=(8, 16),
)
LAYOUT = keys.covar(CONFIG.patch)


@pytest.fixture(scope="module")
def shapes():
    plan = flat.blueprint(lambda: CoVAR(CONFIG, rngs=nnx.Rngs(0)))
    return {path: leaf.shape for path, leaf in plan.shapes.items()}


@pytest.fixture
def parameters(shapes):
    rng = np.random.default_rng(0)
    return {path: rng.standard_normal(s).astype(np.float32) for path, s in shapes.items()}


def test_there_and_back_changes_nothing(parameters, shapes):
    tensors = names.to_torch(LAYOUT, parameters)
    back = names.to_jax(LAYOUT, tensors, shapes)
    assert back.keys() == parameters.keys()
    assert all(np.array_equal(back[path], parameters[path]) for path in parameters)
    numbers = sum(x.size for x in parameters.values())
    assert sum(x.size for x in tensors.values()) == numbers


def test_layouts_are_pytorchs(parameters):
    tensors = names.to_torch(LAYOUT, parameters)
    qkv = parameters["video/spatial_blocks/attn/qkv/kernel"]
    np.testing.assert_array_equal(tensors["video.spatial_blocks.1.attn.qkv.weight"], qkv[1].T)
    patches = parameters["video/x_embedder/kernel"]
    convolution = tensors["video.x_embedder.proj.weight"]
    assert convolution.shape == (32, 3, 1, 2, 2)
    assert convolution[7, 2, 0, 1, 0] == patches[2 * 4 + 1 * 2 + 0, 7]  # channel, row, column
    assert "action.t_embedder.mlp.0.weight" in tensors
    assert "bridges.0.video.q_norm.weight" in tensors
    assert "text_encoder.blocks.0.attn.proj.weight" in tensors
    assert "action.decoder.down.1.conv1.linear.weight" in tensors


def test_the_video_branch_goes_by_stdit3s_names(shared, shapes):
    with open(shared / "specs/opensora_stdit3_keys.csv", newline="") as file:
        wanted = {row["key"]: row["shape"].count("x") + 1 for row in csv.DictReader(file)}
    depth_2 = {
        name: axes
        for name, axes in wanted.items()
        if not (block := re.match(r"\w+_blocks\.(\d+)\.", name)) or int(block[1]) < CONFIG.depth
    }
    found = {p.name: len(p.shape) for p in names.places(LAYOUT, shapes)}
    video = {n.removeprefix(keys.PREFIX): v for n, v in found.items() if n.startswith(keys.PREFIX)}
    assert video == depth_2


def test_everything_that_does_not_fit_is_named(parameters, shapes):
    tensors = names.to_torch(LAYOUT, parameters)
    del tensors["bridges.1.action.proj.weight"], tensors["video.t_block.1.bias"]
    tensors["stranger.weight"] = np.zeros(3, np.float32)
    tensors["action.y_proj.fc1.weight"] = np.zeros((16, 9), np.float32)
    with pytest.raises(UserError) as error:
        names.to_jax(LAYOUT, tensors, shapes)
    told = str(error.value)
    assert "missing: bridges.1.action.proj.weight, video.t_block.1.bias;" in told
    assert "unexpected: stranger.weight;" in told
    assert "misshapen: action.y_proj.fc1.weight (16, 9) instead of (16, 8);" in told
    assert "\n" not in told


def test_a_transposed_weight_is_misshapen(parameters, shapes):
    tensors = names.to_torch(LAYOUT, parameters)
    name = "video.spatial_blocks.0.mlp.fc1.weight"
    tensors[name] = tensors[name].T
    with pytest.raises(UserError, match=r"misshapen: video\.spatial_blocks\.0\.mlp\.fc1\.weight"):
        names.to_jax(LAYOUT, tensors, shapes)
