"""Linear, MLP, and stacked layers: scan, unrolling and rematerialisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vidact.nn import layers
from vidact.nn.linear import Linear
from vidact.nn.mlp import MLP

RNG = np.random.default_rng(0)
DEPTH, WIDTH = 4, 6


def normal(*shape):
    return jnp.asarray(RNG.standard_normal(shape), jnp.float32)


def test_linear_over_any_leading_axes():
    layer = Linear(WIDTH, 3, rngs=nnx.Rngs(0))
    layer.bias[...] = normal(3)
    for shape in ((WIDTH,), (2, WIDTH), (2, 5, 4, WIDTH)):
        x = normal(*shape)
        expected = np.asarray(x) @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...])
        np.testing.assert_allclose(layer(x), expected, atol=1e-5)


def test_linear_computes_in_its_type_and_keeps_float32_parameters():
    layer = Linear(WIDTH, 3, rngs=nnx.Rngs(0), dtype=jnp.bfloat16)
    assert layer(normal(2, WIDTH)).dtype == jnp.bfloat16
    assert layer.kernel[...].dtype == layer.bias[...].dtype == jnp.float32


def test_mlp_with_the_tanh_gelu():
    layer, x = MLP(WIDTH, 8, 3, rngs=nnx.Rngs(0)), RNG.standard_normal((5, WIDTH))
    h = x @ np.asarray(layer.fc1.kernel[...], np.float64)
    h = 0.5 * h * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3)))
    expected = h @ np.asarray(layer.fc2.kernel[...], np.float64)
    np.testing.assert_allclose(layer(jnp.asarray(x, jnp.float32)), expected, atol=1e-5)
    assert not MLP(WIDTH, 8, 3, rngs=nnx.Rngs(0), zero=True)(normal(2, WIDTH)).any()


@pytest.fixture(scope="module")
def stack():
    make = lambda rngs: Linear(WIDTH, WIDTH, rngs=rngs)  # noqa: E731
    return layers.stack(DEPTH, make, nnx.Rngs(0))


def test_stacked_layers_differ(stack):
    kernels = np.asarray(stack.kernel[...])
    assert kernels.shape == (DEPTH, WIDTH, WIDTH)
    assert len({kernel.tobytes() for kernel in kernels}) == DEPTH


@pytest.mark.parametrize("unroll", [1, 2, DEPTH])
@pytest.mark.parametrize("remat", ["none", "dots", "full"])
def test_scan_runs_them_in_order(stack, remat, unroll):
    graphdef, leaves = nnx.split(stack)
    x = normal(2, WIDTH)

    def loss(leaves):
        body = lambda x, layer: jnp.tanh(layer(x))  # noqa: E731
        module = nnx.merge(graphdef, leaves)
        return jnp.square(layers.scan(body, x, module, remat=remat, unroll=unroll)).sum()

    def plain(kernels):
        y = x
        for kernel in kernels:
            y = jnp.tanh(y @ kernel)
        return jnp.square(y).sum()

    value, gradient = jax.jit(jax.value_and_grad(loss))(leaves)
    expected, expected_gradient = jax.value_and_grad(plain)(stack.kernel[...])
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient["kernel"][...], expected_gradient, atol=1e-5)


@pytest.mark.parametrize("remat", layers.REMAT)
def test_what_is_computed_again_is_the_same(stack, remat):
    """Loss and gradients of each kind; "offload" alone keeps something in the host's memory."""
    graphdef, leaves = nnx.split(stack)
    x = normal(2, WIDTH)

    def loss(leaves, remat):
        body = lambda x, layer: jnp.tanh(layer(x))  # noqa: E731
        return jnp.square(layers.scan(body, x, nnx.merge(graphdef, leaves), remat=remat)).sum()

    compute = jax.jit(jax.value_and_grad(loss), static_argnums=1)
    (value, gradient), (expected, wanted) = compute(leaves, remat), compute(leaves, "none")
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    same = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)  # noqa: E731
    jax.tree.map(same, gradient, wanted)
    assert ("host" in str(compute.trace(leaves, remat).jaxpr)) == (remat == "offload")


def test_an_unknown_rematerialisation_is_refused(stack):
    with pytest.raises(ValueError, match="remat='half': choose none, dots, full, offload"):
        layers.scan(lambda x, layer: layer(x), normal(2, WIDTH), stack, remat="half")
