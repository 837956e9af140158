"""Open-Sora 1.2's video autoencoder: 8 x 8 pixels and 4 frames to one latent (opensora.md 3).

An image autoencoder codes every frame for itself, then a temporal one codes the frames' latents in
chunks of 17 frames, 5 latents each, that know nothing of each other. Weights are those of the
OpenSora-VAE-v1.2 checkpoint (`vidact.interop.vae_keys`); nothing here trains.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from vidact.encoders.video.kl_vae import AutoencoderKL, KLConfig
from vidact.encoders.video.temporal_vae import TemporalConfig, TemporalVAE
from vidact.errors import UserError
from vidact.nn.layers import Buffer
from vidact.nn.placement import by_rows

# Stable Diffusion's factor although the weights descend from SDXL's: what Open-Sora multiplies by.
SPATIAL_SCALE = 0.18215
SHIFT = (-0.10, 0.34, 0.27, 0.98)
SCALE = (3.85, 2.32, 2.33, 3.06)
SPATIAL = KLConfig()
TEMPORAL = TemporalConfig()
DTYPES = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class OpenSoraVAEConfig:
    """Sizes and how the work is cut.

    Attributes:
      spatial: the image autoencoder.
      temporal: the temporal one.
      chunk: frames that are coded together; weights were trained with 17, and no other number
        gives their latents.
      micro_batch: frames that pass the image autoencoder at once; only speed and memory change.
      multiple: heights and widths are padded to multiples of so many pixels. A latent covers 8,
        and the video model makes tokens of 2 x 2 latents.
      dtype: of the computation, float32 or bfloat16; norms and results are float32 with both.
    """

    spatial: KLConfig = SPATIAL
    temporal: TemporalConfig = TEMPORAL
    chunk: int = 17
    micro_batch: int = 1
    multiple: int = 16
    dtype: str = "float32"

    def latents(self, frames: int) -> int:
        """Latent frames of a clip: 5 per whole chunk, a quarter of the rest, rounded up."""
        per_chunk, rest = -(-self.chunk // self.temporal.factor), frames % self.chunk
        return frames // self.chunk * per_chunk - (-rest // self.temporal.factor)


FULL = OpenSoraVAEConfig()


class OpenSoraVAE(nnx.Module):
    """Encodes and decodes clips of any length; large sizes need a `jax.jit` around each call.

    Raises:
      UserError: the configuration is impossible.
    """

    def __init__(self, config: OpenSoraVAEConfig, *, rngs: nnx.Rngs):
        _check(config)
        dtype = jnp.dtype(config.dtype)
        self.spatial_vae = AutoencoderKL(config.spatial, rngs=rngs, dtype=dtype)
        self.temporal_vae = TemporalVAE(config.temporal, rngs=rngs, dtype=dtype)
        self.shift = Buffer(jnp.array(SHIFT, jnp.float32))
        self.scale = Buffer(jnp.array(SCALE, jnp.float32))
        self.config = config

    def encode(
        self, video: Float[Array, "b t h w 3"], key: Key[Array, ""] | None = None
    ) -> Float[Array, "b s i j 4"]:
        """Latents of clips, about normal in each channel.

        Args:
          video: pixels in [-1, 1]; t >= 1. Other sizes than multiples of `config.multiple` are
            padded below and to the right with their last row and column.
          key: draws from both posteriors, as Open-Sora does in training; without it their means
            are taken.

        Returns:
          Latents: `config.latents(t)` of them, [ceil(h / 16) * 2, ceil(w / 16) * 2] large at FULL.
        """
        keys = (None, None) if key is None else jax.random.split(key)
        video = _padded(video, self.config.multiple)
        moments = by_rows(functools.partial(self._per_frame, self.spatial_vae.moments), video)
        x = posterior(moments, keys[0]) * SPATIAL_SCALE
        chunks = functools.partial(_per_chunk, self.temporal_vae.moments, chunk=self.config.chunk)
        moments = by_rows(chunks, x)
        return (posterior(moments, keys[1]) - self.shift[...]) / self.scale[...]

    def decode(
        self,
        latents: Float[Array, "b s i j 4"],
        frames: int,
        size: tuple[int, int] | None = None,
    ) -> Float[Array, "b t h w 3"]:
        """Pixels in [-1, 1], not clipped.

        Args:
          latents: what `encode` returns.
          frames: t, the clip's pixel frames; several numbers lead to the same count of latents.
          size: (height, width) to cut the padded frames to; by default they stay padded.

        Raises:
          UserError: so many frames do not have so many latents.
        """
        count, config = latents.shape[1], self.config
        if config.latents(frames) != count:
            wanted = config.latents(frames)
            told = f"frames={frames} make {wanted} latents, but {count} were given"
            raise UserError(f"{told}: pass the number of frames that were encoded")
        z = latents * self.scale[...] + self.shift[...]
        x = by_rows(functools.partial(self._temporal_decode, frames=frames), z) / SPATIAL_SCALE
        video = by_rows(functools.partial(self._per_frame, self.spatial_vae.decode), x)
        return video if size is None else video[:, :, : size[0], : size[1]]

    def _temporal_decode(self, z, frames: int):
        """Image latents of `frames` frames, chunk by chunk."""
        chunk = self.config.chunk
        whole, rest = divmod(frames, chunk)
        end = self.config.latents(whole * chunk)
        parts = []
        if whole:
            decode = lambda z: self.temporal_vae.decode(z, chunk)  # noqa: E731
            parts.append(_per_chunk(decode, z[:, :end], end // whole))
        if rest:
            parts.append(self.temporal_vae.decode(z[:, end:], rest))
        return jnp.concatenate(parts, axis=1)

    def _per_frame(self, function: Callable, x):
        """`function` of [n, h, w, c] over all frames of [b, t, h, w, c], few at a time."""
        flat = x.reshape(-1, *x.shape[2:])
        size = min(self.config.micro_batch, len(flat))
        whole = len(flat) // size * size
        groups = flat[:whole].reshape(-1, size, *flat.shape[1:])
        done = jax.lax.map(function, groups)
        done = done.reshape(whole, *done.shape[2:])
        if whole < len(flat):
            done = jnp.concatenate([done, function(flat[whole:])])
        return done.reshape(*x.shape[:2], *done.shape[1:])


def posterior(moments: Float[Array, "*b m"], key: Key[Array, ""] | None) -> Float[Array, "*b c"]:
    """mean + exp(logvar / 2) noise, or the mean without a key; logvar is held in [-30, 20].

    Args:
      moments: means, then as many log-variances, along the last axis (opensora.md 3.2).
      key: of the noise.
    """
    mean, logvar = jnp.split(moments, 2, axis=-1)
    if key is None:
        return mean
    noise = jax.random.normal(key, mean.shape, mean.dtype)
    return mean + jnp.exp(jnp.clip(logvar, -30, 20) / 2) * noise


def _per_chunk(function: Callable, x, chunk: int):
    """`function` of [b, chunk, ...] over the chunks of the second axis; the rest comes last."""
    b, length = x.shape[:2]
    whole = length // chunk
    parts = []
    if whole:
        chunks = x[:, : whole * chunk].reshape(b, whole, chunk, *x.shape[2:])
        done = jnp.moveaxis(jax.lax.map(function, jnp.moveaxis(chunks, 1, 0)), 0, 1)
        parts.append(done.reshape(b, -1, *done.shape[3:]))
    if length % chunk:
        parts.append(function(x[:, whole * chunk :]))
    return jnp.concatenate(parts, axis=1)


def _padded(video, multiple: int):
    """Frames whose sides are multiples of `multiple`."""
    below, right = (-side % multiple for side in video.shape[2:4])
    return jnp.pad(video, ((0, 0), (0, 0), (0, below), (0, right), (0, 0)), mode="edge")


def _check(config: OpenSoraVAEConfig) -> None:
    """Names what cannot be in a configuration."""
    if config.dtype not in DTYPES:
        raise UserError(f"dtype={config.dtype!r}: choose {' or '.join(DTYPES)}")
    if config.multiple < 1 or config.multiple % config.spatial.factor:
        raise UserError(f"multiple={config.multiple}: take a multiple of {config.spatial.factor}")
    if min(config.micro_batch, config.chunk) < 1:
        raise UserError("micro_batch and chunk: take at least 1")
