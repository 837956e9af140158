"""The transformer that turns coarse actions into precise ones (CoVAR, action refinement)."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from vidact.models.covar.config import CoVARConfig
from vidact.models.covar.video_dit import patches
from vidact.nn import layers, rope
from vidact.nn.attention import CrossAttention, Rotation, SelfAttention
from vidact.nn.linear import Linear
from vidact.nn.mlp import MLP
from vidact.nn.norms import layer_norm


class RefinerBlock(nnx.Module):
    """A pre-norm transformer block that also reads the text."""

    def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs, dtype=jnp.float32):
        args = dict(rngs=rngs, dtype=dtype)
        self.attn = SelfAttention(width, heads, **args)
        self.cross_attn = CrossAttention(width, heads, **args)
        self.mlp = MLP(width, 4 * width, width, **args)

    def __call__(
        self,
        x: Float[Array, "b n c"],
        text: Float[Array, "b l c"],
        text_mask: Bool[Array, "b l"],
        rotation: Rotation,
    ) -> Float[Array, "b n c"]:
        x = x + self.attn(layer_norm(x), rotation)
        x = x + self.cross_attn(layer_norm(x), text, text_mask)
        return x + self.mlp(layer_norm(x))


class ActionRefiner(nnx.Module):
    """Coarse actions, the first frame's tokens and the text to a correction of the actions.

    The paper publishes no sizes. Tokens of the first frame come from the latents of the frame coded
    alone; the correction is zero at start, so that a fresh refiner changes nothing.
    """

    def __init__(self, config: CoVARConfig, *, rngs: nnx.Rngs):
        width, heads = config.refiner_width, config.refiner_heads
        args = dict(rngs=rngs, dtype=config.compute_dtype)
        self.config = config
        self.action_encoder = MLP(config.action_dim, width, width, **args)
        self.x_embedder = Linear(config.patch**2 * config.latent_channels, width, **args)
        self.y_proj = MLP(config.text_width, width, width, **args)
        self.blocks = layers.stack(
            config.refiner_depth,
            lambda r: RefinerBlock(width, heads, rngs=r, dtype=config.compute_dtype),
            rngs,
        )
        zeros = nnx.initializers.zeros
        self.final = Linear(width, config.action_dim, kernel_init=zeros, **args)

    def __call__(
        self,
        coarse: Float[Array, "b m a"],
        condition: Float[Array, "b 1 h w c"],
        text: Float[Array, "b l d"],
        text_mask: Bool[Array, "b l"],
    ) -> Float[Array, "b m a"]:
        """Refined normalised actions.

        Args:
          coarse: normalised actions as sampled.
          condition: the first frame, coded alone.
          text: embeddings.
          text_mask: True = a real word.
        """
        image = self.x_embedder(patches(condition, self.config.patch)[:, 0])
        x = jnp.concatenate([self.action_encoder(coarse), image], axis=1)
        rotation, y = self._rotation(coarse.shape[1], image.shape[1]), self.y_proj(text)
        x = layers.scan(lambda x, block: block(x, y, text_mask, rotation), x, self.blocks)
        return coarse + self.final(layer_norm(x[:, : coarse.shape[1]])).astype(coarse.dtype)

    def _rotation(self, actions: int, tokens: int) -> Rotation:
        """Places in one line: the actions, then the tokens of the frame row by row."""
        head_dim = self.config.refiner_width // self.config.refiner_heads
        positions = jnp.arange(actions + tokens, dtype=jnp.float32)
        return rope.rotation(positions, rope.frequencies(head_dim))
