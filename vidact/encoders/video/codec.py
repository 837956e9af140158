"""What every video codec offers, and the codec that a configuration names."""

import dataclasses
import functools
import pathlib
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, Key, UInt8

from vidact import latents as latents_lib
from vidact.encoders import frozen
from vidact.encoders.video import linear
from vidact.encoders.video.linear import AnyArray
from vidact.encoders.video.opensora_vae import FULL
from vidact.errors import UserError

KINDS = ("linear", "opensora-vae")


@runtime_checkable
class VideoCodec(Protocol):
    """Clips to latents and back; a pytree, so that it can be an argument of a jitted function."""

    def encode(
        self, video: UInt8[AnyArray, "b t h w 3"], key: Key[Array, ""] | None = None
    ) -> Float[Array, "b n i j c"]:
        """Latents of a clip; `key` is for a codec that draws them."""
        ...

    def decode(self, latents: Float[AnyArray, "b n i j c"]) -> Float[Array, "b t h w 3"]:
        """Pixels in [-1, 1], not clipped, of a whole clip's latents or of one frame's."""
        ...

    def spans(self, frames: int) -> Int[np.ndarray, "n 2"]:
        """The first and the last frame that each latent covers."""
        ...

    @property
    def channels(self) -> int:
        """Channels of a latent."""
        ...


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("state",),
    meta_fields=("graphdef", "frames", "size", "sample"),
)
@dataclasses.dataclass(frozen=True)
class OpenSoraCodec:
    """Open-Sora's VAE on clips of one length and size.

    Attributes:
      state: its weights.
      graphdef: the rest of the `OpenSoraVAE`.
      frames: T of a whole clip.
      size: height and width of its frames, which decoding cuts the padding to.
      sample: draw from the posterior where a key is given; else always its mean.
    """

    state: Any
    graphdef: Any
    frames: int
    size: tuple[int, int]
    sample: bool = False

    @property
    def channels(self) -> int:
        """Latent channels."""
        return self._vae().config.temporal.channels

    def encode(
        self, video: UInt8[AnyArray, "b t h w 3"], key: Key[Array, ""] | None = None
    ) -> Float[Array, "b n i j c"]:
        """Latents of clips of any length (specs/opensora.md 3)."""
        return _encode(self, jnp.asarray(video), key if self.sample else None)

    def decode(self, latents: Float[AnyArray, "b n i j c"]) -> Float[Array, "b t h w 3"]:
        """Pixels in [-1, 1] of a whole clip, or of one frame where there is one latent."""
        return _decode(self, jnp.asarray(latents))

    def spans(self, frames: int) -> Int[np.ndarray, "n 2"]:
        """The first and the last frame that each latent covers."""
        config = self._vae().config
        return latents_lib.spans(frames, config.temporal.factor, config.chunk)

    def _vae(self):
        return nnx.merge(self.graphdef, self.state)


@jax.jit
def _encode(codec: OpenSoraCodec, video, key):
    return codec._vae().encode(video.astype(jnp.float32) / 127.5 - 1, key)


@jax.jit
def _decode(codec: OpenSoraCodec, latents):
    frames = 1 if latents.shape[1] == 1 else codec.frames
    return codec._vae().decode(latents, frames, codec.size)


def open_codec(config: ml_collections.ConfigDict, fitted: pathlib.Path) -> VideoCodec:
    """The codec of a configuration.

    Args:
      config: the whole configuration.
      fitted: the file of a linear codec, which belongs to its run.

    Raises:
      UserError: its weights cannot be read or are of other sizes.
    """
    encoder = config.encoder
    if encoder.kind == "linear":
        return linear.load(fitted)
    if not encoder.weights:
        raise UserError(
            "config.encoder.weights: empty; give the folder that vidact.interop.import_weights "
            "--from opensora-vae wrote"
        )
    codec = _on_clips(config, frozen.load(encoder.weights, "opensora-vae", encoder.dtype))
    if codec.channels != encoder.channels:
        raise UserError(
            f"config.encoder.channels={encoder.channels}: {encoder.weights} has "
            f"{codec.channels}; set config.encoder.channels and config.model.latent_channels to it"
        )
    return codec


def abstract_codec(config: ml_collections.ConfigDict) -> OpenSoraCodec:
    """Open-Sora 1.2's codec as `open_codec` gives it, with shapes in place of its weights."""
    sizes = {name: dataclasses.asdict(getattr(FULL, name)) for name in ("spatial", "temporal")}
    return _on_clips(config, frozen.shapes("opensora-vae", sizes, config.encoder.dtype))


def _on_clips(config: ml_collections.ConfigDict, vae: nnx.Module) -> OpenSoraCodec:
    graphdef, state = nnx.split(vae)
    size = (int(config.data.resolution[0]), int(config.data.resolution[1]))
    return OpenSoraCodec(state, graphdef, config.data.frames, size, config.encoder.sample)


def chunk(encoder: ml_collections.ConfigDict) -> int:
    """Frames that a codec of `config.encoder` codes together; 0 = all."""
    return 0 if encoder.kind == "linear" else FULL.chunk


def latent_shape(config: ml_collections.ConfigDict) -> tuple[int, int, int, int]:
    """[n, h, w, c] of a window's latents."""
    encoder, (height, width) = config.encoder, config.data.resolution
    count = len(latents_lib.spans(config.data.frames, encoder.frames, chunk(encoder)))
    if encoder.kind == "linear":
        return count, height // encoder.patch, width // encoder.patch, encoder.channels
    step = FULL.multiple
    sides = (-(-side // step) * step // FULL.spatial.factor for side in (height, width))
    return count, *sides, encoder.channels
