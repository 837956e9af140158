"""Rotary position embedding over interleaved pairs (rotary_embedding_torch's layout)."""

import jax.numpy as jnp
from jaxtyping import Array, Float

THETA = 10000.0


def rotation(
    positions: Float[Array, "n"], head_dim: int
) -> tuple[Float[Array, "n d"], Float[Array, "n d"]]:
    """Cosine and sine of position * 10000^(-2i/d), each repeated for its pair (opensora.md 1.4)."""
    pairs = jnp.arange(0, head_dim, 2, dtype=jnp.float32)
    angles = positions.astype(jnp.float32)[:, None] * THETA ** (-pairs / head_dim)
    angles = jnp.repeat(angles, 2, axis=-1)
    return jnp.cos(angles), jnp.sin(angles)


def rotate(
    x: Float[Array, "*b n h d"], table: tuple[Float[Array, "n d"], Float[Array, "n d"]]
) -> Float[Array, "*b n h d"]:
    """(x_2i, x_2i+1) -> (x_2i cos - x_2i+1 sin, x_2i+1 cos + x_2i sin), in float32.

    Args:
      x: queries or keys; axis -3 is the sequence.
      table: from `rotation` at the sequence's positions.
    """
    cos, sin = (part[:, None, :] for part in table)
    y = x.astype(jnp.float32)
    pairs = y.reshape(*y.shape[:-1], -1, 2)
    turned = jnp.stack([-pairs[..., 1], pairs[..., 0]], axis=-1).reshape(y.shape)
    return (y * cos + turned * sin).astype(x.dtype)
