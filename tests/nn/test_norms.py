"""Norms against their formulas in float64, at magnitudes where their eps matters."""

import jax.numpy as jnp
import numpy as np
import pytest

from vidact.nn import norms

SCALES = (1e-4, 1e-3, 1.0, 100.0)
RNG = np.random.default_rng(0)


def standardised(x, eps):
    x = x.astype(np.float64)
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + eps)


@pytest.mark.parametrize("scale", SCALES)
def test_layer_norm_and_rms_norm(scale):
    x = (scale * (RNG.standard_normal((3, 24)) + 0.5)).astype(np.float32)
    found = norms.layer_norm(jnp.asarray(x))
    np.testing.assert_allclose(found, standardised(x, 1e-6), atol=1e-5)
    layer = norms.RMSNorm(24)
    weight = RNG.standard_normal(24)
    layer.weight[...] = jnp.asarray(weight, jnp.float32)
    root = np.sqrt(np.square(x.astype(np.float64)).mean(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(layer(jnp.asarray(x)), x / root * weight, atol=1e-5)


@pytest.mark.parametrize("scale", ["0.0001", "0.001", "1", "100"])
def test_norms_are_those_of_pytorch(shared, scale):
    with np.load(shared / "fixtures/opensora/stdit3_parts.npz") as parts:
        x = jnp.asarray(parts[f"norm/in_{scale}"])
        expected = parts[f"norm/layernorm_eps1e-6_{scale}"]
        np.testing.assert_allclose(norms.layer_norm(x), expected, atol=1e-5)
        expected = parts[f"norm/rms_eps1e-6_{scale}"]
        np.testing.assert_allclose(norms.RMSNorm(24)(x), expected, atol=1e-5)


def test_modulation_scales_by_one_plus():
    x, shift, scale = (RNG.standard_normal((2, 8)).astype(np.float32) for _ in range(3))
    found = norms.modulate(*map(jnp.asarray, (x, shift, scale)))
    np.testing.assert_allclose(found, standardised(x, 1e-6) * (1 + scale) + shift, atol=1e-5)


def test_group_norm_stays_within_a_token():
    layer = norms.TokenGroupNorm(4, 24)
    layer.weight[...] = jnp.arange(24.0)
    layer.bias[...] = -jnp.ones(24)
    x = RNG.standard_normal((2, 5, 24)).astype(np.float32)
    found = np.asarray(layer(jnp.asarray(x)))
    groups = standardised(x.reshape(2, 5, 4, 6), 1e-5).reshape(x.shape)
    np.testing.assert_allclose(found, groups * np.arange(24) - 1, atol=1e-4)
    x[0, 3] += 5
    other = np.asarray(layer(jnp.asarray(x)))
    assert {(int(i), int(j)) for i, j, _ in np.argwhere(found != other)} <= {(0, 3)}


def test_norms_keep_the_type_and_compute_in_float32():
    x = jnp.asarray(1000 + RNG.standard_normal((4, 24)), jnp.bfloat16)
    found = norms.layer_norm(x)
    assert found.dtype == jnp.bfloat16
    expected = standardised(np.asarray(x, np.float64), 1e-6)
    np.testing.assert_allclose(found.astype(np.float32), expected, atol=0.02)
    assert norms.RMSNorm(24)(x).dtype == jnp.bfloat16
