"""The UNet over time: its convolution, any length, and what its zero initialisation means."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vidact.nn import unet1d

RNG = np.random.default_rng(0)


def normal(*shape):
    return jnp.asarray(RNG.standard_normal(shape), jnp.float32)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_the_convolution_is_jaxs(size):
    layer, x = unet1d.Conv1d(6, 4, size, rngs=nnx.Rngs(0)), normal(2, 7, 6)
    layer.linear.bias[...] = normal(4)
    kernel = layer.linear.kernel[...].reshape(size, 6, 4)
    expected = jax.lax.conv_general_dilated(
        x, kernel, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
    )
    np.testing.assert_allclose(layer(x), expected + layer.linear.bias[...], atol=1e-5)


def test_halving_takes_means_of_pairs():
    x = jnp.asarray([[[1.0], [3.0], [10.0], [20.0]]])
    np.testing.assert_array_equal(unet1d.halve(x), [[[2.0], [15.0]]])


@pytest.fixture(scope="module")
def network():
    """Three levels, so that lengths are padded to multiples of 4; noise in every parameter."""
    make = lambda: unet1d.UNet1d(6, 2, 5, (32, 32, 32), rngs=nnx.Rngs(0))  # noqa: E731
    graphdef, shapes = nnx.split(nnx.eval_shape(make))
    leaves = jax.tree.map(lambda x: 0.3 * normal(*x.shape), shapes)
    compiled = jax.jit(lambda leaves, x, cond: nnx.merge(graphdef, leaves)(x, cond))
    return lambda x, cond: np.asarray(compiled(leaves, x, cond))


@pytest.mark.parametrize("length", [1, 5, 8])
def test_any_length_is_padded_by_its_last_token_and_cropped(network, length):
    x, cond = normal(2, length, 6), normal(2, length, 5)
    found = network(x, cond)
    assert found.shape == (2, length, 2)
    repeat = [(0, 0), (0, -length % 4), (0, 0)]
    padded = network(jnp.pad(x, repeat, mode="edge"), jnp.pad(cond, repeat, mode="edge"))
    rounding = 1e-6 * np.abs(padded).max()  # two programs, whose values are some hundred
    np.testing.assert_allclose(found, padded[:, :length], rtol=0, atol=rounding)


def test_samples_do_not_mix_and_the_condition_counts(network):
    x, cond = normal(2, 8, 6), normal(2, 8, 5)
    before = network(x, cond)
    after = network(x.at[0].add(1), cond)
    assert np.abs(before[0] - after[0]).max() > 1e-3
    np.testing.assert_array_equal(before[1], after[1])
    assert np.abs(before - network(x, cond.at[:, 3].add(1))).max() > 1e-3


def test_a_fresh_network_answers_zero():
    network = unet1d.UNet1d(6, 2, 5, (8,), rngs=nnx.Rngs(0))
    assert not network(normal(1, 3, 6), normal(1, 3, 5)).any()
