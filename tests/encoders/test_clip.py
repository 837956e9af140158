"""CLIP's text model computes what the original does with its weights, and reads its files."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

from vidact.encoders.text import clip
from vidact.encoders.text.sizes import CLIPSizes
from vidact.errors import UserError
from vidact.interop import names, text_keys
from vidact.nn import flat

GOLDEN = pathlib.Path(__file__).parents[1] / "goldens/videovla/clip_text.npz"
SIZES = CLIPSizes(vocabulary=96, width=32, hidden=64, depth=2, heads=4, positions=20, eos=95)


@pytest.fixture(scope="module")
def golden():
    """Ids, a mask, and the original's outputs and weights."""
    with np.load(GOLDEN) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def tensors(golden):
    prefix = "weights/"
    return {k.removeprefix(prefix): v for k, v in golden.items() if k.startswith(prefix)}


def blueprint(sizes, dtype=jnp.float32):
    return flat.blueprint(lambda: clip.CLIPText(sizes, rngs=nnx.Rngs(0), dtype=dtype))


def renamed(tensors):
    """The tensors that the layout knows, under its names."""
    called = {name: text_keys.clip_name(name) for name in tensors}
    return {called[name]: array for name, array in tensors.items() if called[name]}


def build(tensors, sizes=SIZES, dtype=jnp.float32):
    plan = blueprint(sizes, dtype)
    shapes = {path: leaf.shape for path, leaf in plan.shapes.items()}
    arrays = names.to_jax(text_keys.CLIP, renamed(tensors), shapes)
    leaves = [jnp.asarray(arrays[path]) for path in shapes]
    return nnx.merge(plan.graphdef, jax.tree.unflatten(plan.treedef, leaves))


@pytest.fixture(scope="module")
def run(tensors):
    """The float32 model, compiled once for each kind of mask."""
    graphdef, weights = nnx.split(build(tensors))
    return jax.jit(lambda ids, mask: nnx.merge(graphdef, weights)(ids, mask))


def call(run, ids, mask=None):
    with jax.default_matmul_precision("highest"):
        mask = None if mask is None else jnp.asarray(mask != 0)
        return [np.asarray(x) for x in run(jnp.asarray(ids), mask)]


@pytest.mark.parametrize("case", ["masked", "unmasked"])
def test_states_are_the_originals(golden, run, case):
    mask = golden["attention_mask"] if case == "masked" else None
    found = call(run, golden["input_ids"], mask)
    for name, array in zip(("last", "pooled"), found, strict=True):
        difference = np.abs(array - golden[f"{name}_{case}"]).max()
        print(f"{name} {case}: {difference:.1e}")
        assert difference <= 1e-5


def test_masked_tokens_influence_no_real_one(golden, run):
    ids, real = golden["input_ids"], golden["attention_mask"] != 0
    assert not real.all()
    others = np.where(real, ids, (ids + 7) % 90)
    first, second = call(run, ids, real), call(run, others, real)
    np.testing.assert_array_equal(first[0][real], second[0][real])
    np.testing.assert_array_equal(first[1], second[1])
    # A hole before the end, which causality does not cover.
    real = real.copy()
    real[:, 2] = False
    others = ids.copy()
    others[:, 2] = (ids[:, 2] + 7) % 90
    first, second = call(run, ids, real), call(run, others, real)
    np.testing.assert_array_equal(first[0][real], second[0][real])


def test_tokens_see_only_what_is_before_them(golden, run):
    ids = golden["input_ids"]
    others = ids.copy()
    others[:, 5:] = (ids[:, 5:] + 7) % 90
    first, second = call(run, ids)[0], call(run, others)[0]
    np.testing.assert_array_equal(first[:, :5], second[:, :5])
    assert not np.isclose(first[:, 5:], second[:, 5:]).all(-1).any()


def test_what_is_pooled_is_the_first_end(run):
    ids = np.full((3, 20), 7)
    ids[0, 4:], ids[1, [9, 12]] = SIZES.eos, SIZES.eos
    states, pooled = call(run, ids)
    # XLA computes the pooled rows once more, in another order.
    np.testing.assert_allclose(pooled, states[np.arange(3), [4, 9, 0]], rtol=0, atol=1e-6)


def test_gelu_and_quick_gelu_differ_a_little(golden, tensors, run):
    model = build(tensors, dataclasses.replace(SIZES, activation="gelu"))
    found = np.asarray(jax.jit(lambda ids: model(ids))(jnp.asarray(golden["input_ids"]))[1])
    assert 1e-4 < np.abs(found - golden["pooled_unmasked"]).max() < 0.5


def test_more_tokens_than_positions_are_refused(tensors):
    with pytest.raises(ValueError, match="21 tokens; CLIP has 20 positions"):
        build(tensors)(jnp.zeros((1, 21), int))


def test_names_with_and_without_prefix(tensors):
    plan = blueprint(SIZES)
    shapes = {path: leaf.shape for path, leaf in plan.shapes.items()}
    short = {name.removeprefix("text_model."): array for name, array in tensors.items()}
    others = {
        "text_model.embeddings.position_ids": np.arange(20)[None],
        "vision_model.embeddings.position_ids": np.arange(50)[None],
        "text_projection.weight": np.ones((32, 32)),
        "logit_scale": np.ones(()),
    }
    for given in (tensors, short, {**tensors, **others}):
        wanted = renamed(given)
        back = names.to_torch(text_keys.CLIP, names.to_jax(text_keys.CLIP, wanted, shapes))
        assert back.keys() == short.keys()
        assert all(np.array_equal(back[name], short[name]) for name in short)


@pytest.mark.parametrize(
    ("sizes", "total"), [(clip.VIT_B32, 63_165_952), (clip.VIT_L14, 123_060_480)]
)
def test_sizes_are_the_published_ones(sizes, total):
    assert sum(leaf.size for leaf in blueprint(sizes).shapes.values()) == total


def test_sizes_come_from_a_config(tmp_path):
    path = tmp_path / "config.json"
    text = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
    path.write_text(json.dumps({"text_config": text, "vision_config": {"hidden_size": 1024}}))
    assert CLIPSizes.from_json(path) == clip.VIT_L14
    path.write_text(json.dumps({**text, "eos_token_id": 2}))
    assert CLIPSizes.from_json(path) == clip.VIT_L14
    path.write_text(json.dumps({**text, "hidden_act": "relu"}))
    with pytest.raises(UserError, match="hidden_act is 'relu'"):
        CLIPSizes.from_json(path)


def test_the_golden_is_the_fixture(shared, golden, tensors):
    folder = shared / "fixtures/videovla/clip_text"
    stored = safetensors.numpy.load_file(folder / "params.safetensors")
    assert stored.keys() == tensors.keys()
    assert all(np.array_equal(stored[name], tensors[name]) for name in stored)
    with np.load(folder / "io.npz") as file:
        assert all(np.array_equal(file[name], golden[name]) for name in file.files)
    assert CLIPSizes.from_json(folder / "config.json") == SIZES
