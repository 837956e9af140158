"""A video codec without pretrained weights: principal components of patches.

The first frame is coded alone. Every later group of `frames` frames is coded as its difference to
the first frame, so a still background costs nothing and no latent sees the future of its group's
end. Both bases are orthonormal and fitted to the training frames; decoding is the transpose.
Latents are divided by each channel's standard deviation.
"""

import dataclasses
import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from jaxtyping import Array, Float, Int, Key, UInt8

from vidact import latents, whole
from vidact.errors import UserError

AnyArray = Array | np.ndarray
# An array, or in its place what JAX's tree functions put there: shapes, shardings, placeholders.
Leaf = Any
_ARRAYS = ("mean", "first_basis", "first_scale", "later_basis", "later_scale")


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=_ARRAYS, meta_fields=("patch", "frames")
)
@dataclasses.dataclass(frozen=True)
class LinearCodec:
    """Weights of the codec, all float32; NumPy on the host, JAX arrays once they are on devices.

    Attributes:
      mean: [H, W, 3], mean training frame in [-1, 1].
      first_basis: [p*p*3, c], orthonormal columns, for the first frame.
      first_scale: [c], standard deviation of the first frame's coefficients.
      later_basis: [frames*p*p*3, c], orthonormal columns, for groups of later frames.
      later_scale: [c], their standard deviation.
      patch: p, pixels per patch side.
      frames: pixel frames per later latent.
    """

    mean: Leaf
    first_basis: Leaf
    first_scale: Leaf
    later_basis: Leaf
    later_scale: Leaf
    patch: int
    frames: int

    @property
    def channels(self) -> int:
        """Latent channels."""
        return self.first_basis.shape[1]

    def spans(self, frames: int) -> Int[np.ndarray, "n 2"]:
        """The first and the last frame that each latent covers."""
        return latents.spans(frames, self.frames)

    def encode(
        self, video: UInt8[AnyArray, "b t h w 3"], key: Key[Array, ""] | None = None
    ) -> Float[Array, "b n i j c"]:
        """Latents of a clip of 1 + k * frames pixel frames: [B, 1 + k, H/p, W/p, c].

        There is nothing to draw: `key` is not used.
        """
        del key
        pixels = jnp.asarray(video, jnp.float32) / 127.5 - 1.0 - self.mean
        first = self._patches(pixels[:, :1]) @ self.first_basis / self.first_scale
        if video.shape[1] == 1:
            return first
        change = self._patches(pixels[:, 1:] - pixels[:, :1])
        later = change @ self.later_basis / self.later_scale
        return jnp.concatenate([first, later], axis=1)

    def decode(self, latents: Float[AnyArray, "b n i j c"]) -> Float[Array, "b t h w 3"]:
        """Pixels in [-1, 1] (not clipped), 1 + (n - 1) * frames of them."""
        first = self._pixels(latents[:, :1] * self.first_scale @ self.first_basis.T, 1)
        if latents.shape[1] > 1:
            coefficients = latents[:, 1:] * self.later_scale
            change = self._pixels(coefficients @ self.later_basis.T, self.frames)
            first = jnp.concatenate([first, first + change], axis=1)
        return first + self.mean

    def _patches(self, x):
        """[B, k*f, H, W, 3] -> [B, k, H/p, W/p, f*p*p*3], f = 1 for a single frame."""
        b, t, h, w, _ = x.shape
        f, p = (1 if t == 1 else self.frames), self.patch
        x = x.reshape(b, t // f, f, h // p, p, w // p, p, 3)
        return x.transpose(0, 1, 3, 5, 2, 4, 6, 7).reshape(b, t // f, h // p, w // p, -1)

    def _pixels(self, x, f):
        """The inverse of `_patches`."""
        b, n, i, j, _ = x.shape
        p = self.patch
        x = x.reshape(b, n, i, j, f, p, p, 3).transpose(0, 1, 4, 2, 5, 3, 6, 7)
        return x.reshape(b, n * f, i * p, j * p, 3)


def to_uint8(pixels: Float[AnyArray, "*b"]) -> UInt8[Array, "*b"]:
    """[-1, 1] to 0..255, clipped and rounded."""
    return jnp.round(jnp.clip((pixels + 1) * 127.5, 0, 255)).astype(jnp.uint8)


def fit(
    clips: UInt8[np.ndarray, "n t h w 3"], *, patch: int, frames: int, channels: int
) -> LinearCodec:
    """Principal components of the patches of some training clips.

    Args:
      clips: T = 1 + k * frames; a few hundred are enough.
      patch: pixels per patch side; divides H and W.
      frames: pixel frames per later latent.
      channels: latent channels, at most patch * patch * 3.
    """
    mean = (clips.astype(np.float32) / 127.5 - 1.0).mean((0, 1))
    ones = np.ones((1, 1), np.float32)
    blank = LinearCodec(mean, ones, ones, ones, ones, patch, frames)
    first, later = np.zeros((), np.float64), np.zeros((), np.float64)
    for clip in clips:  # one at a time: float32 clips are 12 times the JPEG's memory
        pixels = clip[None].astype(np.float32) / 127.5 - 1.0 - mean
        first = first + _second_moment(blank._patches(pixels[:, :1]))
        later = later + _second_moment(blank._patches(pixels[:, 1:] - pixels[:, :1]))
    bases = []
    for moment, groups in ((first, 1), (later, (clips.shape[1] - 1) // frames)):
        places = len(clips) * groups * (clips.shape[2] // patch) * (clips.shape[3] // patch)
        bases += _principal(moment / places, channels)
    return LinearCodec(mean, bases[0], bases[1], bases[2], bases[3], patch, frames)


def blinded(codec: LinearCodec) -> LinearCodec:
    """A codec that codes every video as zeros, for a control that does not see."""
    nothing = {name: 0 * getattr(codec, name) for name in ("first_basis", "later_basis")}
    return dataclasses.replace(codec, **nothing)


def _second_moment(patches) -> np.ndarray:
    flat = np.asarray(patches, np.float32).reshape(-1, patches.shape[-1])
    return (flat.T @ flat).astype(np.float64)


def _principal(moment: np.ndarray, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """The leading eigenvectors [n, c], signs fixed, and the root of their eigenvalues [c]."""
    values, vectors = np.linalg.eigh(moment)
    order = np.argsort(values)[::-1][:channels]
    vectors = vectors[:, order]
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(0), np.arange(channels)])
    scale = np.sqrt(np.maximum(values[order], 1e-8))
    return vectors.astype(np.float32), scale.astype(np.float32)


def save(codec: LinearCodec, path: str | pathlib.Path) -> None:
    """Writes the codec as safetensors, patch and frames in the metadata, whole or not at all."""
    arrays = {name: np.ascontiguousarray(getattr(codec, name)) for name in _ARRAYS}
    sizes = {"patch": str(codec.patch), "frames": str(codec.frames)}
    with whole.replacing(pathlib.Path(path)) as partial:
        safetensors.numpy.save_file(arrays, partial, metadata=sizes)
        partial.chmod(0o644)  # safetensors lets nobody but the writer read


def load(path: str | pathlib.Path) -> LinearCodec:
    """Reads what `save` wrote.

    Raises:
      UserError: the file is missing or is no codec.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in _ARRAYS}
            sizes = file.metadata()
            return LinearCodec(**arrays, patch=int(sizes["patch"]), frames=int(sizes["frames"]))
    except (OSError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: not a video codec ({error}); train again") from error
