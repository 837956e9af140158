"""Rectified flow: straight lines between data (t = 0) and noise (t = 1).

The sign follows the pretrained Open-Sora weights: the velocity points from noise to data and
sampling adds it (specs/opensora.md 4). CoVAR writes the opposite sign; the loss is the same.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float


def interpolate(
    data: Float[Array, "b n *c"], noise: Float[Array, "b n *c"], t: Float[Array, "b n"]
) -> Float[Array, "b n *c"]:
    """x_t = (1 - t) x_0 + t eps, with t per token or frame in [0, 1]."""
    t = t.reshape(*t.shape, *(1,) * (data.ndim - t.ndim))
    return (1 - t) * data + t * noise


def velocity(data: Float[Array, "b n *c"], noise: Float[Array, "b n *c"]) -> Float[Array, "b n *c"]:
    """The regression target x_0 - eps."""
    return data - noise


def euler_step(
    x: Float[Array, "b n *c"],
    v: Float[Array, "b n *c"],
    t: Float[Array, ""],
    t_next: Float[Array, ""],
) -> Float[Array, "b n *c"]:
    """x + v (t - t_next): one step of the sampler (specs/opensora.md 4)."""
    return x + v * jnp.asarray(t - t_next, x.dtype)
