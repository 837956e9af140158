"""Which (t_video, t_action) a model trains on, and which it visits while sampling.

One pair of times spans all five modes of a joint model: a modality at t = 1 is unknown, at t = 0
given (UWM 2504.02792; UniDiffuser 2303.06555).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vidact.processes import opensora_flow

MODES = ("joint", "policy", "video", "forward", "inverse")
# Where each mode pins (video, action); None means: denoise from 1 to 0.
_PINNED = {
    "joint": (None, None),
    "policy": (1.0, None),
    "video": (None, 1.0),
    "forward": (None, 0.0),
    "inverse": (0.0, None),
}


ORDERS = ("together", "video_first")


def schedule(
    mode: str,
    steps: int,
    action_steps: int | None = None,
    shift: float = 1.0,
    order: str = "together",
) -> Float[np.ndarray, "steps_plus_1 2"]:
    """The times of a sampling run: row i holds (t_video, t_action), the last row the end.

    Args:
      mode: joint | policy (t_video = 1) | video (t_action = 1) | forward (t_action = 0) |
        inverse (t_video = 0).
      steps: Euler steps of the video, >= 1; of the actions too unless `action_steps` says else.
      action_steps: Euler steps of the actions, >= 1. There are as many rows as the larger number
        asks for; the modality with fewer steps waits in between.
      shift: r of Open-Sora's transform of the video's times (specs/opensora.md 4); 1 = none.
      order: video_first makes joint and policy two stages, the video and then the actions that
        lead through it (UniPi 2302.00111).
    """
    if order == "video_first" and mode in ("joint", "policy"):
        video = schedule("video", steps, shift=shift)
        return np.concatenate([video, schedule("inverse", action_steps or steps)[1:]])
    if mode not in _PINNED:
        raise ValueError(f"mode={mode!r}: choose one of {', '.join(MODES)}")
    counts = (steps, steps if action_steps is None else action_steps)
    rows = max(n for n, pin in zip(counts, _PINNED[mode], strict=True) if pin is None)
    columns = []
    for count, pin, ratio in zip(counts, _PINNED[mode], (shift, 1.0), strict=True):
        line = 1.0 - (np.arange(rows + 1, dtype=np.int64) * count // rows) / np.float32(count)
        line = opensora_flow.move(line, ratio)
        columns.append(line if pin is None else np.full_like(line, pin))
    return np.stack(columns, axis=-1).astype(np.float32)


def draw(
    key: Array,
    batch: int,
    *,
    sampler: str,
    shift: float = 1.0,
    mode_share: float = 0.0,
    policy_share: float = 0.5,
) -> Float[Array, "b 2"]:
    """(t_video, t_action) for a training batch.

    Args:
      key: random key.
      batch: number of pairs.
      sampler: one of `SAMPLERS`, the functions of this module.
      shift: r of Open-Sora's transform, for the video's times of logit_beta and two_stage.
      mode_share: share of pairs that are moved to an edge that a conditional mode visits, so that
        these edges are not a set of measure zero in training.
      policy_share: of these, the share that goes to the policy's edge (t_video = 1); the other
        three edges divide the rest evenly.
    """
    times, edges, kinds = jax.random.split(key, 3)
    t = SAMPLERS[sampler](times, batch, shift)
    rest = (1 - policy_share) / 3
    share = jnp.array([policy_share, rest, rest, rest])
    kind = jax.random.categorical(kinds, jnp.log(share), shape=(batch,))
    table = np.array([_PINNED[m] for m in MODES[1:]], dtype=np.float32)  # None becomes NaN
    pins = jnp.asarray(table)[kind]
    pinned = jnp.where(jnp.isnan(pins), t, pins)
    return jnp.where((jax.random.uniform(edges, (batch, 1)) < mode_share), pinned, t)


def independent(key: Array, batch: int, _: float) -> Float[Array, "b 2"]:
    """Both times uniform in [0, 1] and independent (UWM 2504.02792)."""
    return jax.random.uniform(key, (batch, 2))


def shared(key: Array, batch: int, _: float) -> Float[Array, "b 2"]:
    """One uniform time for both."""
    return jnp.repeat(jax.random.uniform(key, (batch, 1)), 2, axis=1)


def logit_beta(key: Array, batch: int, shift: float) -> Float[Array, "b 2"]:
    """The video's time logit-normal and shifted, as Open-Sora 1.2; the action's Beta(1.5, 1).

    Both prefer noise: Beta(1.5, 1) has the density 1.5 sqrt(t), pi0's (2410.24164) with t = 1 as
    noise.
    """
    video_key, action_key = jax.random.split(key)
    video = opensora_flow.move(opensora_flow.logit_normal(video_key, (batch,)), shift)
    # The inverse of the distribution function t^1.5.
    action = jax.random.uniform(action_key, (batch,)) ** (2 / 3)
    return jnp.stack([video, action], axis=1)


def asymmetric(key: Array, batch: int, _: float) -> Float[Array, "b 2"]:
    """t_video >= t_action, uniform over these pairs: actions are never noisier than the video."""
    return -jnp.sort(-jax.random.uniform(key, (batch, 2)), axis=1)


def two_stage(key: Array, batch: int, shift: float) -> Float[Array, "b 2"]:
    """Half of the pairs train the video alone, half the actions given it (UniPi 2302.00111)."""
    times, halves = jax.random.split(key)
    t = jax.random.uniform(times, (batch,))
    video = jnp.stack([opensora_flow.move(t, shift), jnp.ones(batch)], axis=1)
    action = jnp.stack([jnp.zeros(batch), t], axis=1)
    return jnp.where(jax.random.bernoulli(halves, shape=(batch, 1)), video, action)


SAMPLERS = {f.__name__: f for f in (independent, shared, logit_beta, asymmetric, two_stage)}
