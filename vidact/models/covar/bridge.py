"""Bridge Attention: the video and the action stream look at each other in one joint softmax."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from vidact import latents
from vidact.models.covar.config import CoVARConfig
from vidact.nn import rope
from vidact.nn.attention import attend, split_heads
from vidact.nn.linear import Linear
from vidact.nn.norms import RMSNorm, layer_norm
from vidact.nn.placement import grid, line

KINDS = ("bridge", "self_attention", "cross_attention", "none")


class Projections(nnx.Module):
    """Queries, keys and values of normalised tokens, rotated by their time."""

    def __init__(self, width: int, bridge: int, heads: int, *, rngs: nnx.Rngs, dtype):
        self.heads = heads
        self.qkv = Linear(width, 3 * bridge, rngs=rngs, dtype=dtype)
        self.q_norm = RMSNorm(bridge // heads)
        self.k_norm = RMSNorm(bridge // heads)

    def project(self, x: Float[Array, "b t s c"], rotation):
        """Queries, keys and values [B, T * S, heads, d] of normalised, rotated tokens."""
        parts = split_heads(self.qkv(layer_norm(line(x))), 3, self.heads)
        q, k, v = (_by_frames(part, x.shape[1]) for part in parts)
        q, k = self.q_norm(q), self.k_norm(k)
        return rope.rotate(q, rotation), rope.rotate(k, rotation), v


class Side(Projections):
    """One modality's projections into and out of the bridge; the way out starts at zero."""

    def __init__(self, width: int, bridge: int, heads: int, *, rngs: nnx.Rngs, dtype):
        super().__init__(width, bridge, heads, rngs=rngs, dtype=dtype)
        zeros = nnx.initializers.zeros
        self.proj = Linear(bridge, width, kernel_init=zeros, rngs=rngs, dtype=dtype)


class Bridge(nnx.Module):
    """Separate Q, K, V per modality, one softmax over both (CoVAR section 3, Bridge Attention).

    RoPE carries time in control steps, so that an action finds the frames it falls between. With
    kind cross_attention each modality sees the other alone (CoVAR table IV).
    """

    def __init__(self, config: CoVARConfig, *, rngs: nnx.Rngs):
        size = (config.bridge_width, config.bridge_heads)
        dtype = config.compute_dtype
        self.kind = config.bridge_kind
        self.video = Side(config.video_width, *size, rngs=rngs, dtype=dtype)
        self.action = Side(config.action_width, *size, rngs=rngs, dtype=dtype)

    def __call__(
        self,
        video: Float[Array, "b t s c"],
        action: Float[Array, "b m 1 d"],
        rotations,
        key_mask: Bool[Array, "b n"],
        bias: Float[Array, "1 n n"] | None = None,
    ) -> tuple[Float[Array, "b t s c"], Float[Array, "b m 1 d"]]:
        """Both streams with what they saw added.

        Args:
          video: tokens of the video stream.
          action: tokens of the action stream, the state's first.
          rotations: RoPE tables of the video's T * S and of the action's M tokens.
          key_mask: [B, T * S + M], False = padding.
          bias: of `visibility.bias`, added to the logits.
        """
        sides = self._sides(video, action, rotations)
        if self.kind == "cross_attention":
            seen = _cross(*sides, key_mask, bias)
        else:
            seen = _joint(*sides, key_mask, bias)
        video = video + self.video.proj(seen[0]).reshape(video.shape)
        return video, action + self.action.proj(seen[1])[:, :, None]

    def mass(self, video, action, rotations, key_mask, bias=None) -> Float[Array, "b 2 2"]:
        """See `CoVAR.return_attention`; the arguments are those of a call."""
        sides = self._sides(video, action, rotations)
        if self.kind == "cross_attention":
            # Each sees the other alone, or nothing where that is hidden.
            left, right = ((q, k, jnp.ones_like(v[..., :1])) for q, k, v in sides)
            seen = _cross(left, right, key_mask, bias)
            count = seen[0].shape[1]
            there = [_mean(seen[0].mean(-1), key_mask[:, :count])]
            there.append(_mean(seen[1].mean(-1), key_mask[:, count:]))
            return jnp.stack(there, axis=1)[:, :, None] * (1 - jnp.eye(2))
        return _mass(*sides, key_mask, bias)

    def _sides(self, video, action, rotations) -> tuple[tuple, tuple]:
        return (
            self.video.project(video, rotations[0]),
            self.action.project(action, rotations[1]),
        )


class SharedBridge(nnx.Module):
    """The same Q, K, V for both modalities, which are lifted to one width (CoVAR table IV)."""

    def __init__(self, config: CoVARConfig, *, rngs: nnx.Rngs):
        width, zeros = shared_width(config), nnx.initializers.zeros
        widths = (config.video_width, config.action_width)
        args = dict(rngs=rngs, dtype=config.compute_dtype)
        self.video_in, self.action_in = (Linear(w, width, **args) for w in widths)
        self.shared = Projections(width, width, config.bridge_heads, **args)
        self.video_out, self.action_out = (
            Linear(width, w, kernel_init=zeros, **args) for w in widths
        )

    def __call__(
        self,
        video: Float[Array, "b t s c"],
        action: Float[Array, "b m 1 d"],
        rotations,
        key_mask: Bool[Array, "b n"],
        bias: Float[Array, "1 n n"] | None = None,
    ) -> tuple[Float[Array, "b t s c"], Float[Array, "b m 1 d"]]:
        """As `Bridge`."""
        seen = _joint(*self._sides(video, action, rotations), key_mask, bias)
        video = video + self.video_out(seen[0]).reshape(video.shape)
        return video, action + self.action_out(seen[1])[:, :, None]

    def mass(self, video, action, rotations, key_mask, bias=None) -> Float[Array, "b 2 2"]:
        """As `Bridge.mass`."""
        return _mass(*self._sides(video, action, rotations), key_mask, bias)

    def _sides(self, video, action, rotations) -> tuple[tuple, tuple]:
        lifted = (
            grid(lift(layer_norm(line(x))), x.shape[1])
            for lift, x in ((self.video_in, video), (self.action_in, action))
        )
        video, action = (self.shared.project(*pair) for pair in zip(lifted, rotations, strict=True))
        return video, action


class NoBridge(nnx.Module):
    """Two streams that never meet, the ablation without interaction."""

    def __call__(self, video, action, *_):
        return video, action

    def mass(self, video, *_) -> Float[Array, "b 2 2"]:
        """Nothing is seen across: all zeros."""
        return jnp.zeros((video.shape[0], 2, 2))


def _by_frames(x: Float[Array, "b n *d"], frames: int) -> Float[Array, "b n *d"]:
    """A `line` frame by frame, as tables and masks are, whatever is split."""
    return grid(x, frames).reshape(x.shape)


def make(config: CoVARConfig, rngs: nnx.Rngs) -> nnx.Module:
    """The layer of `config.bridge_kind`."""
    if config.bridge_kind == "none":
        return NoBridge()
    shared = config.bridge_kind == "self_attention"
    return (SharedBridge if shared else Bridge)(config, rngs=rngs)


def shared_width(config: CoVARConfig) -> int:
    """The width of `SharedBridge`: `bridge_width`, or that with as many parameters as `Bridge`.

    CoVAR's comparison was not matched; `config.bridge_matched` does it. Bridge has about
    4 b (v + a) parameters, SharedBridge 3 w^2 + 2 w (v + a), where v and a are the streams' widths.
    """
    if not config.bridge_matched:
        return config.bridge_width
    both, step = config.video_width + config.action_width, 2 * config.bridge_heads
    wanted = 4 * config.bridge_width * both
    width = (-both + (both**2 + 3 * wanted) ** 0.5) / 3  # of 3 w^2 + 2 both w = wanted
    return max(step, round(width / step) * step)


def _joint(video, action, key_mask, bias):
    """One softmax over both modalities: what each saw, [B, N, C]."""
    q, k, v = (jnp.concatenate(pair, axis=1) for pair in zip(video, action, strict=True))
    seen = attend(q, k, v, key_mask, bias)
    seen = seen.reshape(*seen.shape[:2], -1)
    count = video[0].shape[1]
    return seen[:, :count], seen[:, count:]


def _mass(video, action, key_mask, bias) -> Float[Array, "b 2 2"]:
    """Mean attention of each modality's real queries to each modality's keys."""
    q, k, _ = (jnp.concatenate(pair, axis=1) for pair in zip(video, action, strict=True))
    count = video[0].shape[1]
    # The values are the modality of each key, so that what is attended to is the mass itself.
    kinds = jnp.eye(2)[(jnp.arange(q.shape[1]) >= count).astype(jnp.int32)]
    kinds = jnp.broadcast_to(kinds[None, :, None], (*q.shape[:3], 2))
    seen = attend(q, k, kinds, key_mask, bias).mean(2)
    parts = (slice(0, count), slice(count, None))
    rows = [[_mean(seen[:, part, kind], key_mask[:, part]) for kind in (0, 1)] for part in parts]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=1)


def _mean(values: Float[Array, "b n"], mask: Bool[Array, "b n"]) -> Float[Array, " b"]:
    """Mean over what the mask keeps; 0 where that is nothing."""
    kept = mask.astype(jnp.float32)
    return (values * kept).sum(1) / jnp.maximum(kept.sum(1), 1)


def _cross(video, action, key_mask, bias):
    """Each modality's queries over the other's keys; nothing where all of those are hidden."""
    count = video[0].shape[1]
    halves = (slice(0, count), slice(count, None))
    results = []
    for mine, other, own, theirs in (
        (video, action, *halves),
        (action, video, *reversed(halves)),
    ):
        part = None if bias is None else bias[:, own, theirs]
        seen = attend(mine[0], other[1], other[2], key_mask[:, theirs], part)
        there = key_mask[:, None, theirs]
        if part is not None:
            there = there & (part == 0)
        seen = seen.reshape(*seen.shape[:2], -1)
        results.append(jnp.where(there.any(-1, keepdims=True), seen, 0))
    return tuple(results)


def rotations(config: CoVARConfig, count: int, tokens: int, actions: int):
    """RoPE tables in control steps for both streams of the bridge; arguments as `places`'s."""
    width = shared_width(config) if config.bridge_kind == "self_attention" else config.bridge_width
    frequencies = rope.frequencies(width // config.bridge_heads)
    video, action = places(config, count, tokens, actions)
    return rope.rotation(video, frequencies), rope.rotation(action, frequencies)


def places(
    config: CoVARConfig, count: int, tokens: int, actions: int
) -> tuple[Float[Array, "n"], Float[Array, "m"]]:
    """When each token of the video and of the actions is, in control steps.

    A latent stands in the middle of the frames it covers, action i halfway between the frames i and
    i + 1 that it joins, the state at 0.

    Args:
      config: of the model.
      count: latents of the video.
      tokens: S of a latent.
      actions: Ta.
    """
    factor, chunk = config.latent_frames, config.latent_chunk
    frames = actions + 1 if chunk else 1 + (count - 1) * factor
    middles = latents.spans(frames, factor, chunk)[:count].mean(1, dtype=np.float32)
    video = jnp.repeat(jnp.asarray(middles), tokens)
    return video, jnp.concatenate([jnp.zeros(1), jnp.arange(actions) + 0.5])
