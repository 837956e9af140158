"""The image autoencoder computes what diffusers' AutoencoderKL computes, with its weights.

The golden holds a three-level model's encoder. The decoder's weights are left out to keep the
repository small: it is compared where ../shared is, and with other sizes in test_opensora_vae.
"""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

from vidact.encoders.video import kl_vae
from vidact.interop import names, vae_keys
from vidact.nn import flat

GOLDEN = pathlib.Path(__file__).parents[1] / "goldens/videovla/sd_vae2d.npz"
CONFIG = kl_vae.KLConfig(channels=(8, 16, 24), groups=4)
IO = ("x", "moments")
LIMIT = 5e-5


@pytest.fixture(scope="module")
def golden():
    """The encoder's weights by name, `x` and `moments`, channels last."""
    with np.load(GOLDEN) as file:
        return {name: file[name] for name in file.files}


def blueprint(config):
    return flat.blueprint(lambda: kl_vae.AutoencoderKL(config, rngs=nnx.Rngs(0)))


def build(weights):
    """The model with these weights; what is not among them is zero."""
    plan = blueprint(CONFIG)
    shapes = {path: leaf.shape for path, leaf in plan.shapes.items()}
    zeros = {p.name: np.zeros(p.shape, np.float32) for p in names.places(vae_keys.KL, shapes)}
    parameters = names.to_jax(vae_keys.KL, zeros | weights, shapes)
    leaves = [jnp.asarray(parameters[path]) for path in shapes]
    return nnx.merge(plan.graphdef, jax.tree.unflatten(plan.treedef, leaves))


def check(what, function, model, x, wanted):
    with jax.default_matmul_precision("highest"):
        computed = np.asarray(nnx.jit(function)(model, jnp.asarray(x)))
    assert computed.shape == wanted.shape
    difference = np.abs(computed - wanted).max()
    print(f"{what}: {difference:.1e}")
    assert difference <= LIMIT


def test_moments_are_those_of_diffusers(golden):
    model = build({name: golden[name] for name in golden if name not in IO})
    check("encode", lambda m, x: m.moments(x), model, golden["x"], golden["moments"])


def test_decoded_means_are_those_of_diffusers(shared):
    folder = shared / "fixtures/videovla/sd_vae2d"
    model = build(safetensors.numpy.load_file(folder / "params.safetensors"))
    with np.load(folder / "io.npz") as file:
        moments, decoded = (np.moveaxis(file[n], 1, -1) for n in ("moments", "decoded_mean"))
    check("decode", lambda m, z: m.decode(z), model, moments[..., :4], decoded)


def test_quant_convs_are_a_choice():
    wanted = {path for path in blueprint(CONFIG).shapes if not path.split("/")[0].endswith("conv")}
    without = kl_vae.KLConfig(channels=(8, 16, 24), groups=4, quant_convs=False)
    assert set(blueprint(without).shapes) == wanted


def test_the_golden_is_the_fixture(shared, golden):
    folder = shared / "fixtures/videovla/sd_vae2d"
    tensors = safetensors.numpy.load_file(folder / "params.safetensors")
    kept = {name for name in tensors if name.startswith(("encoder.", "quant_conv."))}
    assert kept == golden.keys() - set(IO)
    assert all(np.array_equal(tensors[name], golden[name]) for name in kept)
    with np.load(folder / "io.npz") as file:
        assert all(np.array_equal(np.moveaxis(file[n], 1, -1), golden[n]) for n in IO)
