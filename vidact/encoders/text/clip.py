"""CLIP's text model: hidden states of every token, and one vector for the whole text."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from vidact.encoders.text.sizes import CLIPSizes
from vidact.nn import layers
from vidact.nn.attention import attend
from vidact.nn.linear import Linear
from vidact.nn.norms import LayerNorm

_ACTIVATIONS = {
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
}


VIT_B32 = CLIPSizes()  # of ViT-B/16 too; 63 M parameters
VIT_L14 = CLIPSizes(width=768, hidden=3072, heads=12)  # 123 M


class CLIPText(nnx.Module):
    """Token ids to hidden states; a token sees itself and what is before it."""

    def __init__(self, sizes: CLIPSizes, *, rngs: nnx.Rngs, dtype=jnp.float32):
        """Builds it with random weights.

        Args:
          sizes: see `CLIPSizes`.
          rngs: for the weights that others replace.
          dtype: of the matrix products; the rest is float32.
        """
        self.sizes = sizes
        self.embeddings = _Embeddings(sizes, rngs=rngs)
        self.encoder = _Layers(sizes, rngs=rngs, dtype=dtype)
        self.final_layer_norm = LayerNorm(sizes.width, sizes.eps)

    def __call__(
        self, ids: Int[Array, "b l"], mask: Bool[Array, "b l"] | None = None
    ) -> tuple[Float[Array, "b l c"], Float[Array, "b c"]]:
        """The last hidden states and the pooled one, both after the final norm.

        Args:
          ids: in [0, vocabulary), at most `positions` long.
          mask: True = a real token; the first of each row must be one. Padding comes after the
            end, so that it changes neither the real tokens nor what is pooled.

        Returns:
          float32: states of every token; the state at the row's first end token (at its first
          token where there is none), without CLIP's projection.
        """
        length = ids.shape[1]
        if length > self.sizes.positions:
            raise ValueError(f"{length} tokens; CLIP has {self.sizes.positions} positions")
        x = self.encoder(self.embeddings(ids), mask)
        x = self.final_layer_norm(x)
        end = jnp.argmax(ids == self.sizes.eos, axis=1)
        return x, jnp.take_along_axis(x, end[:, None, None], axis=1)[:, 0]


class _Embeddings(nnx.Module):
    def __init__(self, sizes: CLIPSizes, *, rngs: nnx.Rngs):
        def table(rows):
            return nnx.Param(jax.random.normal(rngs.params(), (rows, sizes.width)) * 0.02)

        self.token_embedding, self.position_embedding = (
            table(sizes.vocabulary),
            table(sizes.positions),
        )

    def __call__(self, ids: Int[Array, "b l"]) -> Float[Array, "b l c"]:
        x = self.token_embedding[...][ids] + self.position_embedding[...][: ids.shape[1]]
        return x.astype(jnp.float32)


class _Layers(nnx.Module):
    def __init__(self, sizes: CLIPSizes, *, rngs: nnx.Rngs, dtype):
        self.layers = layers.stack(
            sizes.depth, lambda rngs: _Layer(sizes, rngs=rngs, dtype=dtype), rngs
        )

    def __call__(
        self, x: Float[Array, "b l c"], mask: Bool[Array, "b l"] | None
    ) -> Float[Array, "b l c"]:
        later = np.triu(np.ones((1, x.shape[1], x.shape[1]), bool), 1)
        bias = jnp.where(later, -1e30, 0.0)
        return layers.scan(lambda x, layer: layer(x, bias, mask), x, self.layers)


class _Layer(nnx.Module):
    """Self-attention and a feed-forward layer, each behind a norm."""

    def __init__(self, sizes: CLIPSizes, *, rngs: nnx.Rngs, dtype):
        width, hidden, linear = sizes.width, sizes.hidden, dict(rngs=rngs, dtype=dtype)
        self.heads, self.activation = sizes.heads, sizes.activation
        self.layer_norm1, self.layer_norm2 = (LayerNorm(width, sizes.eps) for _ in range(2))
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (
            Linear(width, width, **linear) for _ in range(4)
        )
        self.fc1, self.fc2 = Linear(width, hidden, **linear), Linear(hidden, width, **linear)

    def __call__(
        self,
        x: Float[Array, "b l c"],
        bias: Float[Array, "1 l l"],
        mask: Bool[Array, "b l"] | None,
    ) -> Float[Array, "b l c"]:
        h, shape = self.layer_norm1(x), (*x.shape[:2], self.heads, -1)
        q, k, v = (part(h).reshape(shape) for part in (self.q_proj, self.k_proj, self.v_proj))
        h = attend(q, k, v, mask, bias)
        x = x + self.out_proj(h.reshape(x.shape))
        return x + self.fc2(_ACTIVATIONS[self.activation](self.fc1(self.layer_norm2(x))))
