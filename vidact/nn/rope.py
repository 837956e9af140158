"""Rotary position embedding over interleaved pairs (rotary_embedding_torch's layout)."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vidact.nn import placement

THETA = 10000.0


def frequencies(head_dim: int) -> Float[np.ndarray, "pairs"]:
    """10000^(-2i/d) for each pair i of a head (specs/opensora.md 1.4), float32."""
    pairs = np.arange(0, head_dim, 2, dtype=np.float32)
    return (THETA ** (-pairs / head_dim)).astype(np.float32)


def rotation(
    positions: Float[Array, "n"], frequencies: Float[Array | np.ndarray, "pairs"]
) -> tuple[Float[Array, "n d"], Float[Array, "n d"]]:
    """Cosine and sine of position * frequency, each repeated for its pair (opensora.md 1.4)."""
    angles = positions.astype(jnp.float32)[:, None] * frequencies
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
    if placement.platform() == "tpu":
        turn = jnp.asarray(_quarter_turn(x.shape[-1]), x.dtype)
        turned = jnp.matmul(x, turn, precision="highest")
    else:
        pairs = y.reshape(*y.shape[:-1], -1, 2)
        turned = jnp.stack([-pairs[..., 1], pairs[..., 0]], axis=-1).reshape(y.shape)
    return (y * cos + turned * sin).astype(x.dtype)


def _quarter_turn(width: int) -> Float[np.ndarray, "d d"]:
    """(x_2i, x_2i+1) -> (-x_2i+1, x_2i) as a matrix; exact in any dtype.

    A TPU's lanes do not like pairs: as a product it spares several copies of the array.
    """
    turn = np.zeros((width, width), np.float32)
    even = np.arange(0, width, 2)
    turn[even, even + 1], turn[even + 1, even] = 1, -1
    return turn
