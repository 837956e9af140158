"""Which (t_video, t_action) a model trains on, and which it visits while sampling.

One pair of times spans all five modes of a joint model: a modality at t = 1 is unknown, at t = 0
given (UWM 2504.02792; UniDiffuser 2303.06555).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

MODES = ("joint", "policy", "video", "forward", "inverse")
# Where each mode pins (video, action); None means: denoise from 1 to 0.
_PINNED = {
    "joint": (None, None),
    "policy": (1.0, None),
    "video": (None, 1.0),
    "forward": (None, 0.0),
    "inverse": (0.0, None),
}


def schedule(mode: str, steps: int) -> Float[np.ndarray, "steps_plus_1 2"]:
    """The times of a sampling run: row i holds (t_video, t_action), the last row the end.

    Args:
      mode: joint | policy (t_video = 1) | video (t_action = 1) | forward (t_action = 0) |
        inverse (t_video = 0).
      steps: Euler steps, >= 1.
    """
    if mode not in _PINNED:
        raise ValueError(f"mode={mode!r}: choose one of {', '.join(MODES)}")
    line = 1.0 - np.arange(steps + 1, dtype=np.float32) / steps
    columns = [line if pin is None else np.full_like(line, pin) for pin in _PINNED[mode]]
    return np.stack(columns, axis=-1)


def independent(
    key: Array, batch: int, mode_share: float = 0.0, policy_share: float = 0.5
) -> Float[Array, "b 2"]:
    """(t_video, t_action) drawn independently and uniformly from [0, 1].

    Args:
      key: random key.
      batch: number of pairs.
      mode_share: share of pairs that are moved to an edge that a conditional mode visits, so that
        these edges are not a set of measure zero in training.
      policy_share: of these, the share that goes to the policy's edge (t_video = 1); the other
        three edges divide the rest evenly.
    """
    times, edges, kinds = jax.random.split(key, 3)
    t = jax.random.uniform(times, (batch, 2))
    rest = (1 - policy_share) / 3
    share = jnp.array([policy_share, rest, rest, rest])
    kind = jax.random.categorical(kinds, jnp.log(share), shape=(batch,))
    table = np.array([_PINNED[m] for m in MODES[1:]], dtype=np.float32)  # None becomes NaN
    pins = jnp.asarray(table)[kind]
    pinned = jnp.where(jnp.isnan(pins), t, pins)
    return jnp.where((jax.random.uniform(edges, (batch, 1)) < mode_share), pinned, t)
