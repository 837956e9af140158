"""What the two streams may see of each other, as biases of attention's logits."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

VISIBILITIES = (
    "joint",
    "action_sees_first_frame",
    "action_sees_video",
    "video_sees_action",
    "separate",
)
HIDDEN = -1e30


def bias(visibility: str, frames: int, tokens: int, actions: int) -> Float[Array, "1 n n"] | None:
    """What must not be seen across the bridge, as -1e30 for a query (row) and a key (column).

    Args:
      visibility: joint | action_sees_first_frame | action_sees_video | video_sees_action |
        separate. The first frame counts as an action's under action_sees_first_frame: what it
        learnt of later frames it would pass on.
      frames: T of the video.
      tokens: S of a frame.
      actions: M tokens, the state included.

    Returns:
      None where everything is seen.
    """
    if visibility == "joint":
        return None
    video = np.arange(frames * tokens + actions) < frames * tokens
    later = video & (np.arange(len(video)) >= tokens)
    hidden = {
        "action_sees_first_frame": [(~later, later)],
        "action_sees_video": [(video, ~video)],
        "video_sees_action": [(~video, video)],
        "separate": [(video, ~video), (~video, video)],
    }[visibility]
    pairs = np.logical_or.reduce([np.outer(query, key) for query, key in hidden])
    return jnp.where(pairs, HIDDEN, 0.0)[None]


def first_frame_bias(visibility: str, frames: int) -> Float[Array, "1 t t"] | None:
    """For attention over time: under action_sees_first_frame frame 0 sees no other.

    A departure from Open-Sora, whose temporal attention mixes all frames (specs/opensora.md 1.4).
    """
    if visibility != "action_sees_first_frame":
        return None
    bias = np.zeros((1, frames, frames), np.float32)
    bias[:, 0, 1:] = HIDDEN
    return jnp.asarray(bias)
