"""The action stream: an MLP encoder, DiT blocks parallel to the video's, and a decoder."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from vidact.models.covar import action_decoder
from vidact.models.covar.config import CoVARConfig
from vidact.models.covar.video_dit import TimeEmbedder
from vidact.nn import layers, rope
from vidact.nn.dit_block import DiTBlock
from vidact.nn.mlp import MLP


def keys(mask: Bool[Array, "b n"]) -> Bool[Array, "b m"]:
    """Which of the state's and the actions' tokens may be attended to.

    A sample without any action is a video: its state is not seen either.
    """
    return jnp.concatenate([mask.any(1, keepdims=True), mask], axis=1)


class ActionEnds(nnx.Module):
    """Actions and state to tokens and tokens to velocities, whatever lies between.

    A subclass sets the attributes.

    Attributes:
      action_encoder: an action to a token.
      state_encoder: the initial joint state to a token.
      decoder: action tokens and the embedding of their times to velocities.
    """

    action_encoder: MLP
    state_encoder: MLP
    decoder: Any

    def embed(
        self, actions: Float[Array, "b n a"], state: Float[Array, "b s"]
    ) -> Float[Array, "b m 1 c"]:
        """Tokens [B, 1 + Ta, 1, C]: the state, then the (noisy) actions."""
        tokens = jnp.concatenate(
            [self.state_encoder(state)[:, None], self.action_encoder(actions)], axis=1
        )
        return tokens[:, :, None]

    def decode(
        self, x: Float[Array, "b m 1 c"], embedded: Float[Array, "b m c"], mask: Bool[Array, "b n"]
    ) -> Float[Array, "b n a"]:
        """Velocity of the actions; the decoder sees the action tokens, FiLM their time.

        Tokens of padding (mask False) are blanked: a convolution would carry them to neighbours.
        """
        tokens = jnp.where(mask[:, :, None], x[:, 1:, 0], 0)
        return self.decoder(tokens, embedded[:, 1:])


class ActionDiT(ActionEnds):
    """Action tokens, led by one token for the initial joint state a_0 (CoVAR section 3).

    The state token is always clean: its time is 0. CoVAR publishes no widths; ours are in
    `CoVARConfig`.
    """

    def __init__(self, config: CoVARConfig, *, rngs: nnx.Rngs):
        width, dtype = config.action_width, config.compute_dtype
        args = dict(rngs=rngs, dtype=dtype)
        self.config = config
        self.action_encoder = MLP(config.action_dim, width, width, **args)
        self.state_encoder = MLP(config.state_dim, width, width, **args)
        self.time = TimeEmbedder(width, **args)
        self.y_proj = MLP(config.text_width, width, width, **args)
        self.blocks = layers.stack(
            config.depth,
            lambda r: DiTBlock(
                width,
                config.action_heads,
                config.mlp_ratio,
                axis="time",
                zero=False,
                rngs=r,
                dtype=dtype,
            ),
            rngs,
        )
        self.decoder = action_decoder.make(config, rngs)

    def rotation(self, count: int):
        """RoPE at the state's position 0 and the actions' 1..Ta."""
        head_dim = self.config.action_width // self.config.action_heads
        positions = jnp.arange(count + 1, dtype=jnp.float32)
        return rope.rotation(positions, rope.frequencies(head_dim))
