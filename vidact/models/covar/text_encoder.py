"""A small text encoder that is trained along with the model."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from vidact.models.covar.config import CoVARConfig
from vidact.nn.attention import SelfAttention
from vidact.nn.mlp import MLP
from vidact.nn.norms import layer_norm

HEADS = 4


class TextBlock(nnx.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, *, rngs: nnx.Rngs, dtype=jnp.float32):
        self.attn = SelfAttention(width, HEADS, rngs=rngs, dtype=dtype)
        self.mlp = MLP(width, 4 * width, width, rngs=rngs, dtype=dtype)

    def __call__(self, x: Float[Array, "b l d"], mask: Bool[Array, "b l"]):
        x = x + self.attn(layer_norm(x), key_mask=mask)
        return x + self.mlp(layer_norm(x))


class TextEncoder(nnx.Module):
    """Word ids (vidact.text) to embeddings: a table, learned positions and a few blocks."""

    def __init__(self, config: CoVARConfig, *, rngs: nnx.Rngs):
        width, dtype = config.text_width, config.compute_dtype
        normal = jax.random.normal
        self.words = nnx.Param(normal(rngs.params(), (config.vocabulary, width)))
        self.positions = nnx.Param(0.1 * normal(rngs.params(), (config.max_words, width)))
        blocks = [TextBlock(width, rngs=rngs, dtype=dtype) for _ in range(config.text_depth)]
        self.blocks = nnx.List(blocks)

    def __call__(self, ids: Int[Array, "b l"], mask: Bool[Array, "b l"]) -> Float[Array, "b l d"]:
        x = self.words[...][ids] + self.positions[...]
        for block in self.blocks:
            x = block(x, mask)
        return layer_norm(x)
