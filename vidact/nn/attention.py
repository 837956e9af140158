"""Attention: one door to the kernels, and the self- and cross-attention layers above it."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from vidact.nn import placement, rope, splash
from vidact.nn.linear import Linear
from vidact.nn.norms import RMSNorm, scale_rows
from vidact.nn.placement import place

Rotation = tuple[Float[Array, "n d"], Float[Array, "n d"]]


def attend(
    q: Float[Array, "*b n h d"],
    k: Float[Array, "*b m h d"],
    v: Float[Array, "*b m h e"],
    key_mask: Bool[Array, "*b m"] | None = None,
    bias: Float[Array, "#h n m"] | None = None,
    scale: float | None = None,
) -> Float[Array, "*b n h e"]:
    """softmax(q k^T scale + bias) v, the softmax in float32: every attention passes here.

    On a TPU what has no bias and `splash.fits` goes to the splash kernel, on a GPU bfloat16 without
    bias and mask to cuDNN's; neither holds the logits. Everything else is plain XLA.

    Args:
      q: queries; one or two axes stand in front of a sequence.
      k: keys.
      v: values.
      key_mask: True where a key may be seen. Each row needs at least one True.
      bias: added to the logits, float32.
      scale: of the logits; by default 1 / sqrt(d).
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    if bias is None and q.shape[-1] == v.shape[-1]:
        platform = placement.platform()
        if platform == "tpu" and splash.fits(q, k):
            return splash.attend(q, k, v, key_mask, scale)
        if platform == "gpu" and key_mask is None and _cudnn_can(q):
            rows = (x.reshape(-1, *x.shape[-3:]) for x in (q, k, v))
            seen = jax.nn.dot_product_attention(*rows, scale=scale, implementation="cudnn")
            return seen.reshape(q.shape)
    q, k, v = (x.swapaxes(-3, -2) for x in (q * scale, k, v))
    logits = jnp.einsum("...nd,...md->...nm", q, k, preferred_element_type=jnp.float32)
    if bias is not None:
        logits = logits + bias
    if key_mask is not None:
        logits = jnp.where(key_mask[..., None, None, :], logits, -1e30)
    weights = jnp.exp(logits - jax.lax.stop_gradient(logits.max(-1, keepdims=True)))
    weights = scale_rows(weights, 1 / weights.sum(-1))
    return jnp.einsum("...nm,...md->...nd", weights.astype(v.dtype), v).swapaxes(-3, -2)


def _cudnn_can(q: Float[Array, "*b n h d"]) -> bool:
    """Whether cuDNN's kernel takes these queries: bfloat16, short heads, Ampere or later."""
    fits = q.dtype == jnp.bfloat16 and q.shape[-1] % 8 == 0 and q.shape[-1] <= 128
    return fits and float(jax.local_devices()[0].compute_capability) >= 8


def split_heads(
    x: Float[Array, "*b n c"], count: int, heads: int
) -> tuple[Float[Array, "*b n h d"], ...]:
    """`count` arrays of heads out of a projection into all of them (queries, keys and values).

    For a TPU they are cut apart before the heads: it pads an axis of 3 beside heads of 72.
    Elsewhere that costs compile time.
    """
    if placement.platform() != "tpu":
        whole = x.reshape(*x.shape[:-1], count, heads, -1)
        return tuple(place(whole[..., i, :, :], "heads") for i in range(count))
    parts = jnp.split(x, count, axis=-1)
    return tuple(place(part.reshape(*x.shape[:-1], heads, -1), "heads") for part in parts)


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
        x: Float[Array, "*b n c"],
        rotation: Rotation | None = None,
        key_mask: Bool[Array, "*b n"] | None = None,
        bias: Float[Array, "#h n n"] | None = None,
    ) -> Float[Array, "*b n c"]:
        q, k, v = split_heads(self.qkv(x), 3, self.heads)
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
        (q,) = split_heads(self.q_linear(x), 1, self.heads)
        k, v = split_heads(self.kv_linear(y), 2, self.heads)
        return self.proj(attend(q, k, v, key_mask).reshape(x.shape))
