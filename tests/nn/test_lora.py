"""Low-rank factors: nothing at first, scanned with their layers, and folded into kernels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vidact.nn import flat, layers, lora
from vidact.nn.linear import Linear
from vidact.nn.mlp import MLP

DEPTH, WIDTH, RANK, ALPHA = 3, 6, 2, 5.0
X = jnp.asarray(np.random.default_rng(0).standard_normal((4, WIDTH)), jnp.float32)


def plain() -> nnx.Module:
    """Stacked MLPs."""
    return layers.stack(DEPTH, lambda r: MLP(WIDTH, 8, WIDTH, rngs=r), nnx.Rngs(0))


def make() -> nnx.Module:
    """The same with factors."""
    stack = plain()
    lora.add(stack, RANK, ALPHA, nnx.Rngs(1))
    return stack


def run(stack: nnx.Module):
    return layers.scan(lambda x, layer: x + layer(x), X, stack)


def rebuilt(parameters, make=make) -> nnx.Module:
    return flat.blueprint(make).assemble(parameters)


@pytest.fixture(scope="module")
def trained():
    """Parameters whose B is no longer zero."""
    rng = np.random.default_rng(1)
    return {
        path: value + 0.1 * rng.standard_normal(value.shape).astype(np.float32)
        for path, value in flat.parameters(make()).items()
    }


def test_factors_have_their_layer_s_axis_and_change_nothing_at_first():
    found = flat.parameters(make())
    assert found["fc1/lora_a"].shape == (DEPTH, WIDTH, RANK)
    assert found["fc1/lora_b"].shape == (DEPTH, RANK, 8)
    assert not found["fc2/lora_b"].any()
    assert len({layer.tobytes() for layer in np.asarray(found["fc1/lora_a"])}) == DEPTH
    np.testing.assert_array_equal(run(make()), run(plain()))


def test_the_first_factor_keeps_the_size_of_what_it_sees():
    layer = Linear(400, 3, rngs=nnx.Rngs(0))
    lora.add(layer, 100, 1.0, nnx.Rngs(0))
    assert layer.lora_a is not None
    np.testing.assert_allclose(np.var(layer.lora_a[...]), 1 / 400, rtol=0.05)


def test_a_layer_adds_the_scaled_product_in_its_type():
    for dtype, tolerance in ((jnp.float32, 1e-6), (jnp.bfloat16, 0.05)):
        layer = Linear(WIDTH, 3, rngs=nnx.Rngs(0), dtype=dtype)
        before = np.asarray(layer(X), np.float32)
        lora.add(layer, RANK, ALPHA, nnx.Rngs(1))
        assert layer.lora_a is not None and layer.lora_b is not None
        layer.lora_b[...] = jnp.ones((RANK, 3))
        a, b = (np.asarray(factor[...]) for factor in (layer.lora_a, layer.lora_b))
        assert layer(X).dtype == dtype
        expected = before + np.asarray(X) @ a @ b * ALPHA / RANK
        np.testing.assert_allclose(layer(X).astype(np.float32), expected, atol=tolerance)


def test_merged_kernels_compute_the_same(trained):
    merged = lora.merged(trained, ALPHA)
    assert merged.keys() == flat.parameters(plain()).keys()
    assert all(value.dtype == np.float32 for value in merged.values())
    with_factors = run(rebuilt(trained))
    np.testing.assert_allclose(run(rebuilt(merged, plain)), with_factors, rtol=1e-5, atol=1e-5)
    without = {path: trained[path] for path in merged}
    assert np.abs(run(rebuilt(without, plain)) - with_factors).max() > 0.05


def test_without_factors_merging_only_makes_float32():
    given = {"a/kernel": jnp.ones((2, 2), jnp.bfloat16), "a/bias": jnp.zeros(2)}
    merged = lora.merged(given, ALPHA)
    assert {path: value.dtype for path, value in merged.items()} == dict.fromkeys(given, np.float32)
    np.testing.assert_array_equal(merged["a/kernel"], np.ones((2, 2)))


def test_gradients_reach_both_factors_through_a_scan(trained):
    plan = flat.blueprint(make)
    loss = jax.jit(jax.grad(lambda p: jnp.square(run(plan.assemble(p))).sum()))
    gradient, first = loss(trained), loss(flat.parameters(make()))
    for path in gradient:
        assert np.asarray(gradient[path]).reshape(DEPTH, -1).any(1).all(), path
        assert first[path].any() == (not path.endswith("lora_a")), path  # B is zero
