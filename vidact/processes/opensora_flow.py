"""Open-Sora 1.2's rectified flow: times that depend on size and length, and its Euler sampler.

Facts from specs/opensora.md 4, in this code's convention: t in [0, 1] where Open-Sora writes
0..1000, latents channels-last, velocity x_0 - eps. A mask says per latent frame what sampling may
do with it: 0 keeps it, 1 generates it, a value m between edits it, starting at t = m.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Num
from jaxtyping import ArrayLike as Like

from vidact.processes import rectified_flow

# (latents [B, T, H, W, C], t [], x_mask [B, T], True where the frame is denoised) -> velocity
Velocity = Callable[[Array, Array, Array], Array]


def shift(
    t: Float[Like, "*#b"], height: Num[Like, "*#b"], width: Num[Like, "*#b"], frames: int
) -> Float[Array, "*b"]:
    """Moves times towards noise for large and long videos (specs/opensora.md 4).

    t' = r t / (1 + (r - 1) t) with r = sqrt(height width / 512^2) sqrt(F), where F counts latent
    frames: 1 for an image, otherwise 5 per 17 frames.

    Args:
      t: times in [0, 1]; it and the sizes may be arrays, one value per sample, that broadcast.
      height: of the video in pixels.
      width: of the video in pixels.
      frames: of the video in pixel space: 1 or at least 17.

    Returns:
      float32 times in [0, 1]; 0 and 1 stay exactly where they are.

    Raises:
      ValueError: frames is none of these; F would be 0, and so would all times.
    """
    return jnp.asarray(move(t, ratio(height, width, frames)), jnp.float32)


def times(
    steps: int, height: int | float, width: int | float, frames: int, transform: bool = True
) -> Float[np.ndarray, " steps_plus_1"]:
    """The times of a sampling run, from 1 (noise) to 0 (data).

    Args:
      steps: Euler steps, >= 1; Open-Sora 1.2 uses 30.
      height: of the video in pixels, see `shift`.
      width: likewise.
      frames: likewise.
      transform: whether to `shift` the times; otherwise they are evenly spaced.
    """
    line = 1 - np.arange(steps + 1) / steps
    return (move(line, ratio(height, width, frames)) if transform else line).astype(np.float32)


def ratio(height, width, frames: int):
    """r of `shift`, by operators that Python, NumPy and JAX share."""
    if frames != 1 and frames < 17:
        raise ValueError(
            f"frames={frames}: Open-Sora counts no latent frame for 2..16 frames, which would set "
            "every time to 0; use 1 or at least 17 frames, or evenly spaced times"
        )
    length = 1 if frames == 1 else frames // 17 * 5
    return (height * 1.0 * width) ** 0.5 / 512 * math.sqrt(length)


def move(t, ratio):
    """r t / (r t + 1 - t), by operators that Python, NumPy and JAX share."""
    # r t + (1 - t) rather than 1 + (r - 1) t: this way 1 stays 1. Open-Sora's float32 may give
    # 1.0000001, which no mask reaches: frames to be generated then sit out the first step.
    return ratio * t / (ratio * t + (1 - t))


def logit_normal(key: Array, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Training times sigmoid(N(0, 1)) in (0, 1); `shift` follows where it is used."""
    return jax.nn.sigmoid(jax.random.normal(key, shape))


def loss(
    predicted: Float[Array, "b n *c"],
    data: Float[Array, "b n *c"],
    noise: Float[Array, "b n *c"],
    mask: Bool[Array, "b n"],
) -> Float[Array, " b"]:
    """Mean squared error per sample, over the frames that were noised (specs/opensora.md 4).

    Args:
      predicted: the velocity at x_t, which is `interpolate` with t = 0 where the mask is False.
      data: latents.
      noise: what they were mixed with.
      mask: True where a frame was noised; at least one per sample, as `frame_masks` draws them.
    """
    error = jnp.square(predicted - rectified_flow.velocity(data, noise))
    return error.mean(tuple(range(2, error.ndim))).mean(1, where=mask)


def sample(
    velocity: Velocity,
    z: Float[Array, "b n h w c"],
    times: Float[Like, " steps_plus_1"],
    mask: Float[Array, "b n"] | None = None,
    *,
    noise: Float[Array, "steps b n h w c"] | None = None,
    key: Array | None = None,
) -> Float[Array, "b n h w c"]:
    """Euler steps from `times[0]` to `times[-1]`, some frames given (specs/opensora.md 4).

    A frame takes part in the steps with t <= its mask. One that joins after the start is noised
    to that t first; one that takes no part stays as it is.

    Args:
      velocity: (latents, t [], x_mask [b, n]) -> velocity like the latents, guidance included;
        x_mask is True where a frame takes part, and the others are at t = 0.
      z: noise where the mask is 1, clean reference latents elsewhere.
      times: falling, in [0, 1]; see the function `times`.
      mask: 0 keep, 1 generate, between: edit ratio; without one all frames are generated.
      noise: for each step, the noise of the frames that join at it.
      key: draws that noise instead; a mask asks for exactly one of the two.
    """
    if mask is not None and (noise is None) == (key is None):
        raise ValueError("a mask asks for either noise or key, which re-noise edited frames")
    line = jnp.asarray(times, jnp.float32)
    fresh = noise if key is None else jax.random.split(key, len(line) - 1)
    limit = jnp.ones(z.shape[:2]) if mask is None else mask

    def step(carry, now):
        z, before = carry
        t, t_next, fresh = now
        upper = limit >= t
        start = z
        if mask is not None:
            eps = fresh if key is None else jax.random.normal(fresh, z.shape, z.dtype)
            noised = rectified_flow.interpolate(z, eps, jnp.full(upper.shape, t, z.dtype))
            start = _choose(upper & ~before, noised, z)
        moved = rectified_flow.euler_step(start, velocity(start, t, upper), t, t_next)
        return (_choose(upper, moved.astype(z.dtype), z), upper), None

    (z, _), _ = jax.lax.scan(step, (z, limit == 1), (line[:-1], line[1:], fresh))
    return z


def _choose(frames: Bool[Array, "b n"], a: Array, b: Array) -> Array:
    return jnp.where(frames[:, :, None, None, None], a, b)
