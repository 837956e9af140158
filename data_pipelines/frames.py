"""Encoded frames to pixels."""

import contextlib
import io
from collections.abc import Iterator

import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import Image

from data_pipelines.sources.episode import Episode
from vidact.errors import UserError

MAX_PIXELS = 2**25
"""Largest frame that is read, 33 megapixels: a header may claim anything."""
_JPEG = b"\xff\xd8\xff"


def read(
    episode: Episode,
    camera: str,
    step: int,
    out: UInt8[np.ndarray, "H W 3"],
    stored: tuple[int | None, int | None],
) -> None:
    """Decodes and resizes a camera's frame at `step` of an episode into `out`.

    Args:
      episode: of more than `step` steps.
      camera, step: which frame.
      out: see `decode`.
      stored: height and width that the file must have, None where they vary.

    Raises:
      UserError: it is damaged or has another size; names file, record, camera and step.
    """
    where = f"{episode.name}: {camera} at step {step}"
    encoded = episode.cameras[camera][step]
    try:
        found = size(encoded)
        if any(want not in (None, got) for want, got in zip(stored, found, strict=True)):
            raise UserError(
                f"{where}: is {found[0]}x{found[1]} where features.json states "
                f"{stored[0]}x{stored[1]}; write the episode again"
            )
        _decode(encoded, found, out)
    except ValueError as error:
        raise UserError(
            f"{where}: cannot be decoded ({error}); mend or remove the episode"
        ) from error


def size(encoded: bytes) -> tuple[int, int]:
    """Height and width that a JPEG's or PNG's header states; nothing is decoded.

    Raises:
      ValueError: not a JPEG or PNG, or of more than MAX_PIXELS.
    """
    if encoded.startswith(_JPEG):
        height, width, _, _ = simplejpeg.decode_jpeg_header(encoded)
    else:
        with _open_png(encoded) as image:
            width, height = image.size
    if height * width > MAX_PIXELS:
        raise ValueError(f"{height}x{width} pixels; at most {MAX_PIXELS} are read")
    return height, width


def decode(encoded: bytes, out: UInt8[np.ndarray, "H W 3"]) -> None:
    """Decodes a JPEG or PNG file into `out`, resized (bilinear, aspect not kept) where it differs.

    Args:
      encoded: the file.
      out: where the sizes agree and it is C-contiguous, a JPEG is decoded in place.

    Raises:
      ValueError: not a sound JPEG or PNG, or of more than MAX_PIXELS.
    """
    _decode(encoded, size(encoded), out)


def _decode(encoded: bytes, stored: tuple[int, int], out: np.ndarray) -> None:
    if not encoded.startswith(_JPEG):
        with _open_png(encoded) as image:
            _resize(np.asarray(image.convert("RGB")), out)
    elif stored == out.shape[:2] and out.flags.c_contiguous:
        simplejpeg.decode_jpeg(encoded, buffer=out)
    else:
        _resize(simplejpeg.decode_jpeg(encoded), out)


@contextlib.contextmanager
def _open_png(encoded: bytes) -> Iterator[Image.Image]:
    try:
        with Image.open(io.BytesIO(encoded), formats=("PNG",)) as image:
            yield image
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # Pillow's complaints
        raise ValueError(f"not a sound JPEG or PNG file: {error}") from error


def _resize(pixels: np.ndarray, out: np.ndarray) -> None:
    height, width = out.shape[:2]
    if pixels.shape[:2] != (height, width):
        image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(image)
    out[:] = pixels
