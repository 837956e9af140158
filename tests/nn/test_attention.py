"""Attention against the formulas in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vidact.nn import rope
from vidact.nn.attention import CrossAttention, SelfAttention, attend

RNG = np.random.default_rng(0)
WIDTH, HEADS = 24, 3


def softmax_attention(q, k, v, mask=None):
    """softmax(q k^T / sqrt(d)) v over [B, N, heads, d] in float64."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    logits = np.einsum("bnhd,bmhd->bhnm", q, k) / np.sqrt(q.shape[-1])
    if mask is not None:
        logits = np.where(np.asarray(mask)[:, None, None], logits, -np.inf)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return np.einsum("bhnm,bmhd->bnhd", weights / weights.sum(-1, keepdims=True), v)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def filled(module):
    """The layer with noise in every parameter."""
    graphdef, leaves = nnx.split(module)
    return nnx.merge(graphdef, jax.tree.map(lambda x: jnp.asarray(normal(*x.shape)) * 0.3, leaves))


def weights(linear):
    return (np.asarray(p[...], np.float64) for p in (linear.kernel, linear.bias))


@pytest.fixture(params=[False, True], ids=["all", "masked"])
def mask(request):
    """None, or keys of which some rows lack some, one with a hole."""
    if not request.param:
        return None
    return np.array([[True, True, False, False, False], [True, False, True, True, False]])


def test_attend(mask):
    q, k, v = normal(2, 4, 3, 8), normal(2, 5, 3, 8), normal(2, 5, 3, 8)
    found = attend(*map(jnp.asarray, (q, k, v)), None if mask is None else jnp.asarray(mask))
    np.testing.assert_allclose(found, softmax_attention(q, k, v, mask), atol=1e-6)


def test_attend_survives_large_logits():
    q = jnp.full((1, 2, 1, 4), 1e4)
    found = attend(q, q, jnp.asarray(normal(1, 2, 1, 4)))
    assert jnp.isfinite(found).all()


def test_self_attention_normalises_then_turns_queries_and_keys(mask):
    layer = filled(SelfAttention(WIDTH, HEADS, rngs=nnx.Rngs(0)))
    x, table = normal(2, 5, WIDTH), rope.rotation(jnp.arange(5.0), rope.frequencies(WIDTH // HEADS))
    found = layer(jnp.asarray(x), table, None if mask is None else jnp.asarray(mask))
    kernel, bias = weights(layer.qkv)
    qkv = (x.astype(np.float64) @ kernel + bias).reshape(2, 5, 3, HEADS, -1)
    q, k, v = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
    q, k = (
        y / np.sqrt(np.square(y).mean(-1, keepdims=True) + 1e-6) * np.asarray(norm.weight[...])
        for y, norm in ((q, layer.q_norm), (k, layer.k_norm))
    )
    q, k = (rope.rotate(jnp.asarray(y, jnp.float32), table) for y in (q, k))
    kernel, bias = weights(layer.proj)
    expected = softmax_attention(q, k, v, mask).reshape(2, 5, WIDTH) @ kernel + bias
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_cross_attention_takes_keys_and_values_from_the_text(mask):
    layer = filled(CrossAttention(WIDTH, HEADS, rngs=nnx.Rngs(0)))
    x, text = normal(2, 7, WIDTH), normal(2, 5, WIDTH)
    found = layer(jnp.asarray(x), jnp.asarray(text), None if mask is None else jnp.asarray(mask))
    (kq, bq), (kkv, bkv), (kp, bp) = map(weights, (layer.q_linear, layer.kv_linear, layer.proj))
    q = (x @ kq + bq).reshape(2, 7, HEADS, -1)
    kv = (text @ kkv + bkv).reshape(2, 5, 2, HEADS, -1)
    expected = softmax_attention(q, kv[:, :, 0], kv[:, :, 1], mask).reshape(2, 7, WIDTH) @ kp + bp
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_zero_initialised_layer_gives_zero():
    for kind in (SelfAttention, CrossAttention):
        layer = kind(WIDTH, HEADS, rngs=nnx.Rngs(0), zero=True)
        x = jnp.asarray(normal(1, 2, WIDTH))
        args = (x,) if kind is SelfAttention else (x, x, None)
        assert not layer(*args).any()
