"""Sinusoidal embeddings of time and of place."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from vidact.nn.linear import Linear

SINUSOID_WIDTH = 256
_UP = [12, 106]


def sinusoid(t: Float[Array, "*b"], width: int = SINUSOID_WIDTH) -> Float[Array, "*b c"]:
    """[cos(t f_j), sin(t f_j)], f_j = 10000^(-j / (width/2)) (specs/opensora.md 1.3)."""
    angles = t.astype(jnp.float32)[..., None] * _frequencies(width // 2)
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


def _frequencies(count: int) -> Float[np.ndarray, "n"]:
    """f_j as the reference has them, bit for bit at its width of 256.

    It rounds the exponents to float32. Of the 128 powers its exp rounds all to the nearest but
    two, which lie 0.48 of a unit above the lower neighbour and go up. At t = 1000 a unit is 6e-5.
    """
    exponents = np.float32(-np.log(10000.0)) * np.arange(count, dtype=np.float32) / count
    frequencies = np.exp(exponents.astype(np.float64)).astype(np.float32)
    if count == SINUSOID_WIDTH // 2:
        frequencies[_UP] = np.nextafter(frequencies[_UP], np.float32(1))
    return frequencies


def position_2d(
    rows: int, columns: int, width: int, scale: float, base: int
) -> Float[np.ndarray, "n c"]:
    """Table of 2-D positions, column half first, sine before cosine (specs/opensora.md 1.3).

    Args:
      rows: tokens in height.
      columns: tokens in width.
      width: size of the embedding, a multiple of 4.
      scale: sqrt(height * width in pixels) / 512.
      base: round(sqrt(rows * columns)).

    Returns:
      float32 [rows * columns, width], row-major.
    """
    quarter = np.arange(width // 4, dtype=np.float32)
    frequencies = (1.0 / 10000.0 ** (2 * quarter / (width // 2))).astype(np.float32)

    def embed(count: int) -> np.ndarray:
        grid = np.arange(count, dtype=np.float32) / np.float32(scale) * np.float32(base / count)
        angles = grid[:, None] * frequencies
        return np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)

    by_row = np.repeat(embed(rows), columns, axis=0)
    by_column = np.tile(embed(columns), (rows, 1))
    return np.concatenate([by_column, by_row], axis=-1).astype(np.float32)


class ScalarEmbedder(nnx.Module):
    """Linear, SiLU, Linear over a sinusoid: timesteps and frame rates (specs/opensora.md 1.3)."""

    def __init__(self, width: int, *, rngs: nnx.Rngs, zero: bool = False, dtype=jnp.float32):
        xavier, zeros = nnx.initializers.xavier_uniform(), nnx.initializers.zeros
        first = nnx.initializers.normal(0.02) if zero else xavier
        second = zeros if zero else xavier
        linear = dict(rngs=rngs, dtype=dtype)
        self.mlp_0 = Linear(SINUSOID_WIDTH, width, kernel_init=first, **linear)
        self.mlp_2 = Linear(width, width, kernel_init=second, **linear)

    def __call__(self, t: Float[Array, "*b"]) -> Float[Array, "*b c"]:
        return self.mlp_2(jax.nn.silu(self.mlp_0(sinusoid(t))))
