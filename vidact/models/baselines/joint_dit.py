"""One joint DiT: a single transformer over video, state and action tokens.

The baseline that two streams and a bridge are compared with. PAD (2411.18179) denoises images and
actions so in one DiT; UWM (2504.02792) gives each modality a time of its own. This is CoVAR's trunk
replaced, not a copy of either: data, process, text, positions and both ends are CoVAR's.
"""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Shaped

from vidact.inputs import Observation
from vidact.models.covar import action_decoder, action_dit, bridge, video_dit, visibility
from vidact.models.covar.config import CoVARConfig
from vidact.models.joint_flow import JointFlow
from vidact.nn import layers, rope
from vidact.nn.dit_block import DiTBlock
from vidact.nn.linear import Linear
from vidact.nn.mlp import MLP


class VideoTokens(video_dit.VideoEnds):
    """Latents to tokens and back."""

    def __init__(self, config: CoVARConfig, *, rngs: nnx.Rngs):
        size = config.patch**2 * config.latent_channels
        args = dict(rngs=rngs, dtype=config.compute_dtype)
        self.config = config
        self.x_embedder = Linear(size, config.video_width, **args)
        self.final_layer = video_dit.final_layer(config, rngs)


class ActionTokens(action_dit.ActionEnds):
    """State and actions to tokens and back, as wide as the video's; the decoder starts at zero."""

    def __init__(self, config: CoVARConfig, *, rngs: nnx.Rngs):
        width, args = config.video_width, dict(rngs=rngs, dtype=config.compute_dtype)
        self.action_encoder = MLP(config.action_dim, width, width, **args)
        self.state_encoder = MLP(config.state_dim, width, width, **args)
        self.decoder = action_decoder.make(config, rngs, width)


class Trunk(nnx.Module):
    """What both modalities share: the embedding of time, the projected text and the blocks."""

    def __init__(self, config: CoVARConfig, *, rngs: nnx.Rngs):
        width, dtype = config.video_width, config.compute_dtype
        self.config = config
        self.time = video_dit.TimeEmbedder(width, rngs=rngs, dtype=dtype)
        self.y_proj = MLP(config.text_width, width, width, rngs=rngs, dtype=dtype)
        args = (width, config.video_heads, config.mlp_ratio)
        self.blocks = layers.stack(
            config.depth,
            lambda r: DiTBlock(*args, axis="time", zero=False, rngs=r, dtype=dtype),
            rngs,
        )

    def __call__(
        self,
        video: Float[Array, "b n s c"],
        action: Float[Array, "b m 1 c"],
        t6: Float[Array, "b k 6 c"],
        seen: Bool[Array, "b k"],
        text: Float[Array, "b l d"],
        text_mask: Bool[Array, "b l"],
    ) -> tuple[Float[Array, "b n s c"], Float[Array, "b m 1 c"]]:
        """Both modalities' tokens after the blocks; k counts N frames, the state and the actions.

        Args:
          video: tokens of the frames.
          action: tokens of the state and of the actions.
          t6: modulation by time.
          seen: False = never a key.
          text: from `JointFlow.encode_text`.
          text_mask: True = a real word.
        """
        config, (b, n, s, c), m = self.config, video.shape, action.shape[1]
        x = jnp.concatenate([video.reshape(b, n * s, 1, c), action], axis=1)
        t6, seen = (_per_token(part, n, s) for part in (t6, seen))
        places = jnp.concatenate(bridge.places(config, n, s, m - 1))
        rotation = rope.rotation(places, rope.frequencies(c // config.video_heads))
        y, bias = self.y_proj(text), visibility.bias(config.visibility, n, s, m)

        def body(x, block):
            return block(x, t6, y, text_mask, rotation, seen, bias)

        x = layers.scan(body, x, self.blocks, remat=config.remat, unroll=config.unroll)
        return x[:, : n * s].reshape(video.shape), x[:, n * s :]


def _per_token(x: Shaped[Array, "b k *c"], frames: int, tokens: int) -> Shaped[Array, "b n *c"]:
    """Each frame's entry for all of its tokens; the entries behind the frames' stay as they are."""
    return jnp.concatenate([jnp.repeat(x[:, :frames], tokens, axis=1), x[:, frames:]], axis=1)


class JointDiT(JointFlow):
    """Full self-attention over all tokens, the same weights for both modalities.

    Sizes are those of `CoVARConfig`: the one width is `video_width` (`video_heads`), and `depth`
    counts blocks. `action_width`, `action_heads` and all of `bridge_*` are unused. A block has
    about 16 width^2 parameters at mlp_ratio 4, which is how to match a CoVAR: see
    configs/joint_dit.py. `visibility` holds for all attention, so that it hides what it hides
    from a bridge.
    """

    def __init__(self, config: CoVARConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.video = VideoTokens(config, rngs=rngs)
        self.action = ActionTokens(config, rngs=rngs)
        self.trunk = Trunk(config, rngs=rngs)
        self._add_text_and_refiner(config, rngs)

    def velocities(
        self,
        latents: Float[Array, "b n h w c"],
        actions: Float[Array, "b m a"],
        t_video: Float[Array, "b n"],
        t_action: Float[Array, "b m"],
        observation: Observation,
        text: Float[Array, "b l d"],
        latent_mask: Bool[Array, "b n"],
        action_mask: Bool[Array, "b m"],
    ) -> tuple[Float[Array, "b n h w c"], Float[Array, "b m a"]]:
        """The model itself; arguments as `JointFlow.velocities`'s."""
        n = t_video.shape[1]
        video, action = self.video.embed(latents), self.action.embed(actions, observation.state)
        # The state token is clean.
        times = jnp.concatenate([t_video, jnp.pad(t_action, ((0, 0), (1, 0)))], axis=1)
        embedded, t6 = self.trunk.time(times, observation.fps)
        seen = jnp.concatenate([latent_mask, action_dit.keys(action_mask)], axis=1)
        video, action = self.trunk(video, action, t6, seen, text, observation.text_mask)
        v_video = self.video.head(video, embedded[:, :n], latents.shape)
        return v_video, self.action.decode(action, embedded[:, n:], action_mask)
