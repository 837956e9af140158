"""Encoded frames to pixels."""

import io

import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import Image

from data_pipelines.sources.episode import Episode
from vidact.errors import UserError

_JPEG = b"\xff\xd8\xff"


def read(
    episode: Episode,
    step: int,
    out: UInt8[np.ndarray, "H W 3"],
    stored: tuple[int | None, int | None],
) -> None:
    """Decodes and resizes an episode's frame at `step` into `out`.

    Args:
      episode: of more than `step` steps.
      step: which frame.
      out: see `decode`.
      stored: height and width that the file must have, None where they vary.

    Raises:
      UserError: it is damaged or has another size; names file, record and step.
    """
    where = f"{episode.name}: frame at step {step}"
    try:
        size = decode(episode.images[step], out)
    except ValueError as error:
        raise UserError(
            f"{where}: cannot be decoded ({error}); mend or remove the episode"
        ) from error
    if any(want not in (None, got) for want, got in zip(stored, size, strict=True)):
        raise UserError(
            f"{where}: is {size[0]}x{size[1]} where features.json states {stored[0]}x{stored[1]}; "
            "write the episode again"
        )


def decode(encoded: bytes, out: UInt8[np.ndarray, "H W 3"]) -> tuple[int, int]:
    """Decodes a JPEG or PNG file into `out`, resized (bilinear, aspect not kept) where it differs.

    Args:
      encoded: the file.
      out: C-contiguous; where the sizes agree, a JPEG is decoded in place.

    Returns:
      The file's own height and width.

    Raises:
      ValueError: not a sound JPEG or PNG.
    """
    if not encoded.startswith(_JPEG):
        pixels = _decode_png(encoded)
        _resize(pixels, out)
        return pixels.shape[:2]
    height, width, _, _ = simplejpeg.decode_jpeg_header(encoded)
    if (height, width) == out.shape[:2]:
        simplejpeg.decode_jpeg(encoded, buffer=out)
    else:
        _resize(simplejpeg.decode_jpeg(encoded), out)
    return height, width


def _decode_png(encoded: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(encoded), formats=("PNG",)) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError) as error:  # what Pillow raises for damaged files
        raise ValueError(f"not a sound JPEG or PNG file: {error}") from error


def _resize(pixels: np.ndarray, out: np.ndarray) -> None:
    height, width = out.shape[:2]
    if pixels.shape[:2] != (height, width):
        image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(image)
    out[:] = pixels
