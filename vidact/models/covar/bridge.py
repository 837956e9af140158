"""Bridge Attention: the video and the action stream look at each other in one joint softmax."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from vidact.models.covar.config import CoVARConfig
from vidact.nn import rope
from vidact.nn.attention import attend
from vidact.nn.linear import Linear
from vidact.nn.norms import RMSNorm, layer_norm


class Side(nnx.Module):
    """One modality's projections into and out of the bridge; the way out starts at zero."""

    def __init__(self, width: int, bridge: int, heads: int, *, rngs: nnx.Rngs, dtype):
        zeros = nnx.initializers.zeros
        args = dict(rngs=rngs, dtype=dtype)
        self.heads = heads
        self.qkv = Linear(width, 3 * bridge, **args)
        self.q_norm = RMSNorm(bridge // heads)
        self.k_norm = RMSNorm(bridge // heads)
        self.proj = Linear(bridge, width, kernel_init=zeros, **args)

    def project(self, x: Float[Array, "b n c"], rotation):
        """Queries, keys and values [B, N, heads, d] of normalised, rotated tokens."""
        qkv = self.qkv(layer_norm(x)).reshape(*x.shape[:2], 3, self.heads, -1)
        q, k, v = self.q_norm(qkv[:, :, 0]), self.k_norm(qkv[:, :, 1]), qkv[:, :, 2]
        return rope.rotate(q, rotation), rope.rotate(k, rotation), v


class Bridge(nnx.Module):
    """Separate Q, K, V per modality, one softmax over both (CoVAR section 3, Bridge Attention).

    RoPE carries time in control steps, so that an action finds the frames it falls between.
    """

    def __init__(self, config: CoVARConfig, *, rngs: nnx.Rngs):
        size = (config.bridge_width, config.bridge_heads)
        dtype = config.compute_dtype
        self.video = Side(config.video_width, *size, rngs=rngs, dtype=dtype)
        self.action = Side(config.action_width, *size, rngs=rngs, dtype=dtype)

    def __call__(
        self,
        video: Float[Array, "b t s c"],
        action: Float[Array, "b m 1 d"],
        rotations,
        key_mask: Bool[Array, "b n"],
    ) -> tuple[Float[Array, "b t s c"], Float[Array, "b m 1 d"]]:
        """Both streams with what they saw added.

        Args:
          video: tokens of the video stream.
          action: tokens of the action stream, the state's first.
          rotations: RoPE tables of the video's T * S and of the action's M tokens.
          key_mask: [B, T * S + M], False = padding.
        """
        flat = video.reshape(video.shape[0], -1, video.shape[-1])
        sides = (
            self.video.project(flat, rotations[0]),
            self.action.project(action[:, :, 0], rotations[1]),
        )
        q, k, v = (jnp.concatenate(pair, axis=1) for pair in zip(*sides, strict=True))
        seen = attend(q, k, v, key_mask)
        seen = seen.reshape(*seen.shape[:2], -1)
        count = flat.shape[1]
        video = video + self.video.proj(seen[:, :count]).reshape(video.shape)
        return video, action + self.action.proj(seen[:, count:])[:, :, None]


def rotations(config: CoVARConfig, frames: int, tokens: int, actions: int):
    """RoPE tables in control steps for both streams of the bridge.

    Frame 0 stands at 0, latent k >= 1 in the middle of the frames it covers, action i halfway
    between the frames i and i + 1 that it joins, the state at 0.
    """
    frequencies = rope.frequencies(config.bridge_width // config.bridge_heads)
    later = jnp.arange(1, frames) * config.latent_frames - (config.latent_frames - 1) / 2
    video = jnp.repeat(jnp.concatenate([jnp.zeros(1), later]), tokens)
    action = jnp.concatenate([jnp.zeros(1), jnp.arange(actions) + 0.5])
    return rope.rotation(video, frequencies), rope.rotation(action, frequencies)
