"""The video autoencoder computes what Open-Sora 1.2's computes, with its weights."""

import csv
import functools
import math
import pathlib
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

from vidact.encoders.video import kl_vae, opensora_vae, temporal_vae
from vidact.interop import names, vae_keys
from vidact.nn import flat

GOLDEN = pathlib.Path(__file__).parents[1] / "goldens/opensora/vae_tiny.npz"
CONFIG = opensora_vae.OpenSoraVAEConfig(
    spatial=kl_vae.KLConfig(channels=(8, 16, 32, 32), groups=4),
    temporal=temporal_vae.TemporalConfig(filters=16, res_blocks=2, groups=4),
    multiple=8,  # the fixture's clips are 16 x 24
)
BUFFERS = {"scale": opensora_vae.SCALE, "shift": opensora_vae.SHIFT}
CLIPS = (1, 4, 5, 9, 16, 17)
# Of a whole clip's decoded frames the golden keeps these.
KEPT = {1: [0], 17: [0, 8, 16], 35: [0, 16, 17, 33, 34]}
LIMIT = 5e-5
SPATIAL_LIMIT = 1e-5  # a wrong eps, 1e-5 for 1e-6, differs by 3.6e-5


@pytest.fixture(scope="module")
def golden():
    """Outputs of the original code, channels last, and a checksum of its weights."""
    with np.load(GOLDEN) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def plan():
    """The small model's blueprint."""
    return blueprint(CONFIG)


@pytest.fixture(scope="module")
def weights(golden, plan):
    """The fixture's weights, which are a function of their names; see `tensor`."""
    wanted = names.places(vae_keys.OPENSORA, {p: leaf.shape for p, leaf in plan.shapes.items()})
    tensors = {place.name: tensor(place.name, place.shape) for place in wanted}
    total = 0
    for name in sorted(tensors):
        total = zlib.crc32(tensors[name].tobytes(), total)
    assert total == golden["weights_crc32"], "NumPy draws other numbers than it used to"
    return tensors


@pytest.fixture(scope="module")
def model(plan, weights):
    """The small model with the fixture's weights."""
    return filled(plan, weights)


@functools.cache
def blueprint(config):
    return flat.blueprint(lambda: opensora_vae.OpenSoraVAE(config, rngs=nnx.Rngs(0)))


def filled(plan, weights):
    shapes = {path: leaf.shape for path, leaf in plan.shapes.items()}
    parameters = names.to_jax(vae_keys.OPENSORA, weights, shapes)
    leaves = [jnp.asarray(parameters[path]) for path in shapes]
    return nnx.merge(plan.graphdef, jax.tree.unflatten(plan.treedef, leaves))


def noise(name, shape):
    return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)


def tensor(name, shape):
    """One tensor as the fixture made it: normal noise seeded and scaled by the name."""
    if name in BUFFERS:
        return np.array(BUFFERS[name], np.float32).reshape(shape)
    drawn = noise(f"vae:{name}", shape)
    if name.endswith("bias"):
        return (0.1 * drawn).astype(np.float32)
    if len(shape) == 1:
        return (1 + 0.2 * drawn).astype(np.float32)
    return (drawn / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def given(name, shape, scale=1.0):
    """An input of the fixture, [b, c, t, h, w] there and channels last here."""
    drawn = (scale * noise(f"input:{name}", shape)).astype(np.float32)
    return jnp.asarray(np.moveaxis(drawn, 1, -1))


def video(frames):
    return given(f"pipe.x{frames}", (1, 3, frames, 16, 24), 0.5)


def run(function, model, *args):
    """`function(model, *args)` in one program, its products in full precision."""
    with jax.default_matmul_precision("highest"):
        return np.asarray(nnx.jit(function)(model, *args))


def check(what, computed, wanted, limit=LIMIT):
    assert computed.shape == wanted.shape
    difference = np.abs(computed - wanted).max()
    print(f"{what}: {difference:.1e}")
    assert difference <= limit


@pytest.mark.parametrize("frames", CLIPS)
def test_temporal_moments_and_frames(golden, model, frames):
    vae, count = model.temporal_vae, -(-frames // 4)
    x = given(f"tv.x{frames}", (2, 4, frames, 5, 6))
    moments = run(lambda m, x: m.moments(x), vae, x)
    check(f"encode {frames}", moments, golden[f"temporal/T{frames}/moments"])
    z = given(f"tv.z{frames}", (2, 4, count, 5, 6))
    decoded = run(lambda m, z: m.decode(z, frames), vae, z)
    check(f"decode {frames}", decoded, golden[f"temporal/T{frames}/decoded"])


def test_spatial_moments_and_frames(golden, model):
    images = given("sv.x", (1, 3, 3, 32, 40), 0.5)[0]
    moments = run(lambda m, x: m.moments(x), model.spatial_vae, images)
    check("spatial encode", moments, golden["spatial/moments"], SPATIAL_LIMIT)
    scaled = moments[None, ..., :4] * opensora_vae.SPATIAL_SCALE
    check("spatial encode, scaled", scaled, golden["spatial/encode_scaled"], SPATIAL_LIMIT)
    z = given("sv.z", (1, 4, 3, 4, 5))[0] / opensora_vae.SPATIAL_SCALE
    decoded = run(lambda m, z: m.decode(z), model.spatial_vae, z)
    check("spatial decode", decoded[None], golden["spatial/decode"], SPATIAL_LIMIT)


@pytest.mark.parametrize("frames", KEPT)
def test_pipeline(golden, model, frames):
    latents = run(lambda m, x: m.encode(x), model, video(frames))
    check(f"encode {frames}", latents, golden[f"pipe/T{frames}/z_mode"])
    z = given(f"pipe.z{frames}", (1, 4, CONFIG.latents(frames), 2, 3))
    decoded = run(lambda m, z: m.decode(z, frames), model, z)
    assert decoded.shape == (1, frames, 16, 24, 3)
    check(f"decode {frames}", decoded[:, KEPT[frames]], golden[f"pipe/T{frames}/decoded"])


def test_parameter_counts():
    sizes = {"spatial": 0, "temporal": 0}
    plan = blueprint(opensora_vae.FULL)
    assert plan.buffers == {"scale", "shift"}
    for path, leaf in plan.shapes.items():
        assert leaf.dtype == jnp.float32
        if path not in plan.buffers:
            sizes[path.split("_")[0]] += math.prod(leaf.shape)
    assert sizes == {"spatial": 83_653_863, "temporal": 309_687_144}


def test_names_are_those_of_the_checkpoint(shared):
    shapes = {path: leaf.shape for path, leaf in blueprint(opensora_vae.FULL).shapes.items()}
    found = {place.name: place.shape for place in names.places(vae_keys.OPENSORA, shapes)}
    with open(shared / "specs/opensora_vae_keys.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = {row["key"]: tuple(int(n) for n in row["shape"].split("x")) for row in rows}
    assert len(rows) == 517
    assert found == wanted


def test_the_golden_is_the_fixture(shared, golden, weights):
    folder = shared / "fixtures/opensora"
    tensors = safetensors.numpy.load_file(folder / "vae_tiny.safetensors")
    assert tensors.keys() == weights.keys()
    assert all(np.array_equal(tensors[name], weights[name]) for name in tensors)
    with np.load(folder / "vae_tiny_io.npz") as file:
        assert np.array_equal(np.moveaxis(file["pipe/T35/x"], 1, -1), video(35))
        for name in golden.keys() - {"weights_crc32"}:
            whole = np.moveaxis(file[name], 1, -1)
            if name.startswith("pipe/") and name.endswith("/decoded"):
                whole = whole[:, KEPT[whole.shape[1]]]
            assert np.array_equal(whole, golden[name]), name
