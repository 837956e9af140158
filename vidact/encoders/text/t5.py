"""The encoder of T5 v1.1, which Open-Sora and CogVideoX read instructions with."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from vidact.encoders.text.sizes import T5Sizes
from vidact.nn import layers
from vidact.nn.attention import attend
from vidact.nn.linear import Linear
from vidact.nn.norms import RMSNorm

# 4.76 B parameters (specs/opensora.md 6, specs/videovla.md).
XXL = T5Sizes(vocabulary=32128, width=4096, head_width=64, hidden=10240, depth=24, heads=64)


class T5Encoder(nnx.Module):
    """Token ids to hidden states.

    Parameters may be stored in bfloat16 to save memory: they are cast where they are used.
    """

    def __init__(self, sizes: T5Sizes, *, rngs: nnx.Rngs, dtype=jnp.float32):
        """Builds it with random weights.

        Args:
          sizes: see `T5Sizes`.
          rngs: for the weights that others replace.
          dtype: of the matrix products, float32 or bfloat16. The sum over blocks, the norms and
            the softmax stay float32, for T5's hidden states grow into the thousands.
        """
        self.shared = nnx.Param(_normal(rngs, sizes.vocabulary, sizes.width))
        self.encoder = _Blocks(sizes, rngs=rngs, dtype=dtype)

    def __call__(
        self, ids: Int[Array, "b l"], mask: Bool[Array, "b l"] | None = None
    ) -> Float[Array, "b l c"]:
        """The last hidden states, after the final norm.

        Args:
          ids: in [0, vocabulary).
          mask: True = a real token, at least one a row; False is seen by none. None, as
            CogVideoX has it, lets every token see the padding too.

        Returns:
          float32; rows of masked tokens carry no meaning.
        """
        return self.encoder(self.shared[...][ids].astype(jnp.float32), mask)


def position_buckets(length: int, buckets: int, far: int) -> Int[np.ndarray, "l l"]:
    """The bucket of key m as query n sees it (T5, arXiv 1910.10683, section 2.1).

    Half of the buckets is for keys behind the query. Half of each half holds one distance each,
    the rest distances up to `far` at logarithmic steps; its last one takes all beyond.
    """
    offset = np.arange(length)[None, :] - np.arange(length)[:, None]
    half, distance = buckets // 2, np.abs(offset)
    exact = half // 2
    # 1e-6: rounding must not move a distance that lies on the border of two buckets.
    steps = np.log(np.maximum(distance, exact) / exact) / np.log(far / exact) + 1e-6
    coarse = np.minimum(exact + (steps * (half - exact)).astype(int), half - 1)
    return np.where(distance < exact, distance, coarse) + half * (offset > 0)


class _Blocks(nnx.Module):
    """All blocks, which share one table of position biases, and the final norm."""

    def __init__(self, sizes: T5Sizes, *, rngs: nnx.Rngs, dtype):
        self.sizes = sizes
        self.relative_bias = nnx.Param(_normal(rngs, sizes.buckets, sizes.heads))
        self.block = layers.stack(
            sizes.depth, lambda rngs: _Block(sizes, rngs=rngs, dtype=dtype), rngs
        )
        self.final_layer_norm = RMSNorm(sizes.width, sizes.eps)

    def __call__(
        self, x: Float[Array, "b l c"], mask: Bool[Array, "b l"] | None
    ) -> Float[Array, "b l c"]:
        buckets = position_buckets(x.shape[1], self.sizes.buckets, self.sizes.far)
        bias = self.relative_bias[...][buckets].astype(jnp.float32).transpose(2, 0, 1)
        x = layers.scan(lambda x, block: block(x, bias, mask), x, self.block)
        return self.final_layer_norm(x)


class _Block(nnx.Module):
    """Self-attention and a gated feed-forward layer, each behind a norm."""

    def __init__(self, sizes: T5Sizes, *, rngs: nnx.Rngs, dtype):
        self.attn_norm = RMSNorm(sizes.width, sizes.eps)
        self.attn = _Attention(sizes, rngs=rngs, dtype=dtype)
        self.mlp_norm = RMSNorm(sizes.width, sizes.eps)
        self.mlp = _GatedMLP(sizes, rngs=rngs, dtype=dtype)

    def __call__(
        self,
        x: Float[Array, "b l c"],
        bias: Float[Array, "h l l"],
        mask: Bool[Array, "b l"] | None,
    ) -> Float[Array, "b l c"]:
        x = x + self.attn(self.attn_norm(x), bias, mask)
        return x + self.mlp(self.mlp_norm(x))


class _Attention(nnx.Module):
    def __init__(self, sizes: T5Sizes, *, rngs: nnx.Rngs, dtype):
        inner = sizes.heads * sizes.head_width
        args = dict(rngs=rngs, dtype=dtype, bias=False)
        self.heads = sizes.heads
        self.q, self.k, self.v = (Linear(sizes.width, inner, **args) for _ in range(3))
        self.o = Linear(inner, sizes.width, **args)

    def __call__(self, x, bias, mask):
        shape = (*x.shape[:2], self.heads, -1)
        q, k, v = (project(x).reshape(shape) for project in (self.q, self.k, self.v))
        return self.o(attend(q, k, v, mask, bias, scale=1.0).reshape(*x.shape[:2], -1))


class _GatedMLP(nnx.Module):
    """wo(gelu_tanh(wi_0(x)) wi_1(x))."""

    def __init__(self, sizes: T5Sizes, *, rngs: nnx.Rngs, dtype):
        args = dict(rngs=rngs, dtype=dtype, bias=False)
        self.wi_0 = Linear(sizes.width, sizes.hidden, **args)
        self.wi_1 = Linear(sizes.width, sizes.hidden, **args)
        self.wo = Linear(sizes.hidden, sizes.width, **args)

    def __call__(self, x):
        return self.wo(jax.nn.gelu(self.wi_0(x), approximate=True) * self.wi_1(x))


def _normal(rngs: nnx.Rngs, width: int, out: int) -> Float[Array, "i o"]:
    return jax.random.normal(rngs.params(), (width, out), jnp.float32) / width**0.5
