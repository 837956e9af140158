"""Attention: one door to the kernels, and the self- and cross-attention layers above it."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from vidact.nn import rope
from vidact.nn.linear import Linear
from vidact.nn.norms import RMSNorm, scale_rows

Rotation = tuple[Float[Array, "n d"], Float[Array, "n d"]]


def attend(
    q: Float[Array, "b n h d"],
    k: Float[Array, "b m h d"],
    v: Float[Array, "b m h e"],
    key_mask: Bool[Array, "b m"] | None = None,
    bias: Float[Array, "#h n m"] | None = None,
    scale: float | None = None,
) -> Float[Array, "b n h e"]:
    """softmax(q k^T scale + bias) v, the softmax in float32: every attention passes here.

    Args:
      q: queries.
      k: keys.
      v: values.
      key_mask: True where a key may be seen. Each row needs at least one True.
      bias: added to the logits, float32.
      scale: of the logits; by default 1 / sqrt(d).
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    q, k, v = (x.transpose(0, 2, 1, 3) for x in (q * scale, k, v))
    logits = jnp.einsum("bhnd,bhmd->bhnm", q, k, preferred_element_type=jnp.float32)
    if bias is not None:
        logits = logits + bias
    if key_mask is not None:
        logits = jnp.where(key_mask[:, None, None, :], logits, -1e30)
    weights = jnp.exp(logits - jax.lax.stop_gradient(logits.max(-1, keepdims=True)))
    weights = scale_rows(weights, 1 / weights.sum(-1))
    return jnp.einsum("bhnm,bhmd->bhnd", weights.astype(v.dtype), v).transpose(0, 2, 1, 3)


class SelfAttention(nnx.Module):
    """Multi-head attention with qk-norm and optional RoPE (specs/opensora.md 1.4)."""

    def __init__(
        self, width: int, heads: int, *, rngs: nnx.Rngs, zero: bool = False, dtype=jnp.float32
    ):
        xavier = nnx.initializers.xavier_uniform()
        out = nnx.initializers.zeros if zero else xavier
        self.heads = heads
        self.qkv = Linear(width, 3 * width, rngs=rngs, dtype=dtype)
        self.q_norm = RMSNorm(width // heads)
        self.k_norm = RMSNorm(width // heads)
        self.proj = Linear(width, width, kernel_init=out, rngs=rngs, dtype=dtype)

    def __call__(
        self,
        x: Float[Array, "b n c"],
        rotation: Rotation | None = None,
        key_mask: Bool[Array, "b n"] | None = None,
        bias: Float[Array, "#h n n"] | None = None,
    ) -> Float[Array, "b n c"]:
        qkv = self.qkv(x).reshape(*x.shape[:2], 3, self.heads, -1)
        q, k, v = qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2]
        q, k = self.q_norm(q), self.k_norm(k)
        if rotation is not None:
            q, k = rope.rotate(q, rotation), rope.rotate(k, rotation)
        return self.proj(attend(q, k, v, key_mask, bias).reshape(x.shape))


class CrossAttention(nnx.Module):
    """Queries from tokens, keys and values from text; no qk-norm, no RoPE (opensora.md 1.5)."""

    def __init__(
        self, width: int, heads: int, *, rngs: nnx.Rngs, zero: bool = False, dtype=jnp.float32
    ):
        xavier = nnx.initializers.xavier_uniform()
        out = nnx.initializers.zeros if zero else xavier
        self.heads = heads
        self.q_linear = Linear(width, width, rngs=rngs, dtype=dtype)
        self.kv_linear = Linear(width, 2 * width, rngs=rngs, dtype=dtype)
        self.proj = Linear(width, width, kernel_init=out, rngs=rngs, dtype=dtype)

    def __call__(
        self,
        x: Float[Array, "b n c"],
        y: Float[Array, "b l c"],
        key_mask: Bool[Array, "b l"] | None,
    ) -> Float[Array, "b n c"]:
        q = self.q_linear(x).reshape(*x.shape[:2], self.heads, -1)
        kv = self.kv_linear(y).reshape(*y.shape[:2], 2, self.heads, -1)
        return self.proj(attend(q, kv[:, :, 0], kv[:, :, 1], key_mask).reshape(x.shape))
