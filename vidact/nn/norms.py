"""Normalisation layers, computed in float32 whatever the compute dtype."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


def scale_rows(x: Float[Array, "*b c"], by: Float[Array, "*b"]) -> Float[Array, "*b c"]:
    """x * by[..., None], as a product of matrices, so that its gradient is one too.

    The gradient of a broadcast is the sum of a product of two arrays, with which XLA's CPU backend
    is up to twenty times slower.
    """
    return jnp.einsum("...c,...->...c", x, by, precision="highest")


def layer_norm(x: Float[Array, "*b c"], eps: float = 1e-6) -> Float[Array, "*b c"]:
    """LayerNorm without affine parameters (DiT's; specs/opensora.md 1.6)."""
    y = x.astype(jnp.float32)
    y = y - y.mean(-1, keepdims=True)
    return scale_rows(y, jax.lax.rsqrt(jnp.square(y).mean(-1) + eps)).astype(x.dtype)


class LayerNorm(nnx.Module):
    """LayerNorm with a weight and a bias, as text encoders have it."""

    def __init__(self, width: int, eps: float = 1e-5):
        self.weight = nnx.Param(jnp.ones((width,), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((width,), jnp.float32))
        self.eps = eps

    def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
        y = layer_norm(x.astype(jnp.float32), self.eps)
        return (y * self.weight[...] + self.bias[...]).astype(x.dtype)


def modulate(
    x: Float[Array, "*b c"], shift: Float[Array, "*s c"], scale: Float[Array, "*s c"]
) -> Float[Array, "*b c"]:
    """Adaptive layer norm: LN(x) (1 + scale) + shift (DiT; specs/opensora.md 1.6)."""
    return layer_norm(x) * (1 + scale) + shift


class RMSNorm(nnx.Module):
    """w x / sqrt(mean(x^2) + eps) over the last axis (specs/opensora.md 1.4)."""

    def __init__(self, width: int, eps: float = 1e-6):
        self.weight = nnx.Param(jnp.ones((width,), jnp.float32))
        self.eps = eps

    def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
        y = x.astype(jnp.float32)
        y = y * jax.lax.rsqrt(jnp.square(y).mean(-1, keepdims=True) + self.eps)
        return (y * self.weight[...]).astype(x.dtype)


class TokenGroupNorm(nnx.Module):
    """GroupNorm whose statistics are taken over one token's channels only.

    Ordinary GroupNorm would also average over time, and with it over padding; here a padded
    action cannot change its neighbours.
    """

    def __init__(self, groups: int, width: int, eps: float = 1e-5):
        self.weight = nnx.Param(jnp.ones((width,), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((width,), jnp.float32))
        self.groups, self.eps = groups, eps

    def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
        grouped = x.reshape(*x.shape[:-1], self.groups, -1)
        y = layer_norm(grouped.astype(jnp.float32), self.eps).reshape(x.shape)
        return (y * self.weight[...] + self.bias[...]).astype(x.dtype)
