"""The T5 encoder computes what the original does with its weights, and reads its files."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

from vidact.encoders.text import t5
from vidact.encoders.text.sizes import T5Sizes
from vidact.errors import UserError
from vidact.interop import names, text_keys
from vidact.nn import flat

GOLDEN = pathlib.Path(__file__).parents[1] / "goldens/videovla/t5_encoder.npz"
SIZES = T5Sizes(vocabulary=96, width=32, head_width=8, hidden=64, depth=2, heads=4)
COPY = "encoder.embed_tokens.weight"


@pytest.fixture(scope="module")
def golden():
    """Ids, a mask, the original's outputs and weights (150 tokens reach the far bucket)."""
    with np.load(GOLDEN) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def tensors(golden):
    prefix = "weights/"
    return {k.removeprefix(prefix): v for k, v in golden.items() if k.startswith(prefix)}


def blueprint(sizes, dtype=jnp.float32):
    return flat.blueprint(lambda: t5.T5Encoder(sizes, rngs=nnx.Rngs(0), dtype=dtype))


def renamed(tensors):
    """The tensors that the layout knows, under its names."""
    called = {name: text_keys.t5_name(name) for name in tensors}
    return {called[name]: array for name, array in tensors.items() if called[name]}


def build(tensors, dtype=jnp.float32):
    plan = blueprint(SIZES, dtype)
    shapes = {path: leaf.shape for path, leaf in plan.shapes.items()}
    arrays = names.to_jax(text_keys.T5, renamed(tensors), shapes)
    leaves = [jnp.asarray(arrays[path]) for path in shapes]
    return nnx.merge(plan.graphdef, jax.tree.unflatten(plan.treedef, leaves))


@pytest.fixture(scope="module")
def run(tensors):
    """The float32 model, compiled once for each kind of mask."""
    with jax.default_matmul_precision("highest"):
        graphdef, weights = nnx.split(build(tensors))
        return jax.jit(lambda ids, mask: nnx.merge(graphdef, weights)(ids, mask))


def call(run, ids, mask):
    with jax.default_matmul_precision("highest"):
        mask = None if mask is None else jnp.asarray(mask != 0)
        return np.asarray(run(jnp.asarray(ids), mask))


@pytest.mark.parametrize("case", ["masked", "unmasked"])
def test_hidden_states_are_the_originals(golden, run, case):
    mask = golden["attention_mask"] if case == "masked" else None
    found = call(run, golden["input_ids"], mask)
    difference = np.abs(found - golden[f"out_{case}"]).max()
    print(f"{case}: {difference:.1e}")
    assert difference <= 2e-5  # the original itself is 1e-5 from float64


def test_masked_tokens_influence_no_real_one(golden, run):
    ids, real = golden["input_ids"], golden["attention_mask"] != 0
    assert not real.all()
    others = np.where(real, ids, (ids + 7) % SIZES.vocabulary)
    np.testing.assert_array_equal(call(run, ids, real)[real], call(run, others, real)[real])
    assert not np.array_equal(call(run, ids, None)[real], call(run, others, None)[real])


def test_bfloat16_stays_near(golden, tensors):
    mask = jnp.asarray(golden["attention_mask"] != 0)
    model = build({k: v.astype(jnp.bfloat16) for k, v in tensors.items()}, jnp.bfloat16)
    found = jax.jit(lambda ids, mask: model(ids, mask))(jnp.asarray(golden["input_ids"]), mask)
    assert found.dtype == jnp.float32
    error = np.abs(np.asarray(found) - golden["out_masked"])
    print(f"bfloat16: mean {error.mean():.1e}, max {error.max():.1e}")
    assert 1e-4 < error.mean() < 0.02


def test_buckets_are_those_of_the_paper():
    """One bucket a distance up to 7, then borders at 8 * 2^(k / 2), and one from 128 on."""
    buckets = t5.position_buckets(150, 32, 128)
    behind = buckets[149, ::-1]  # the key is 0, 1, 2, ... before the query
    assert behind[:8].tolist() == list(range(8))
    borders = 1 + np.flatnonzero(np.diff(behind))
    assert borders[7:].tolist() == [8, 12, 16, 23, 32, 46, 64, 91]
    assert behind[91:].tolist() == [15] * 59  # 91..127 share the last bucket with all beyond
    assert buckets[0, 1:].tolist() == (behind[1:] + 16).tolist()


def test_names_there_and_back(tensors):
    plan = blueprint(SIZES)
    wanted = renamed({**tensors, "decoder.final_layer_norm.weight": np.ones(32)})
    shapes = {path: leaf.shape for path, leaf in plan.shapes.items()}
    back = names.to_torch(text_keys.T5, names.to_jax(text_keys.T5, wanted, shapes))
    assert back.keys() == wanted.keys() == tensors.keys() - {COPY}
    assert all(np.array_equal(back[name], wanted[name]) for name in wanted)


def test_xxl_has_the_size_of_the_published_encoder():
    total = sum(leaf.size for leaf in blueprint(t5.XXL).shapes.values())
    assert total == 4_762_310_656


CONFIG = {
    "vocab_size": 32128,
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
    "relative_attention_num_buckets": 32,
    "layer_norm_epsilon": 1e-06,
    "model_type": "t5",
}


def test_sizes_come_from_a_config(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG))
    assert T5Sizes.from_json(path) == t5.XXL


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"feed_forward_proj": "relu"}, "no T5 v1.1"),
        ({"model_type": "umt5"}, "no T5 v1.1"),
        ({"d_kv": None}, "has no d_kv"),
    ],
)
def test_other_networks_are_refused(tmp_path, change, told):
    path = tmp_path / "config.json"
    config = {name: value for name, value in {**CONFIG, **change}.items() if value is not None}
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match=told):
        T5Sizes.from_json(path)


def test_a_missing_config_is_named(tmp_path):
    with pytest.raises(UserError, match=r"config\.json: no such file"):
        T5Sizes.from_json(tmp_path / "config.json")


def test_the_golden_is_the_fixture(shared, golden, tensors):
    folder = shared / "fixtures/videovla/t5_encoder"
    stored = safetensors.numpy.load_file(folder / "params.safetensors")
    assert stored.keys() == tensors.keys()
    assert all(np.array_equal(stored[name], tensors[name]) for name in stored)
    with np.load(folder / "io.npz") as file:
        assert all(np.array_equal(file[name], golden[name]) for name in file.files)
    assert T5Sizes.from_json(folder / "config.json") == SIZES
