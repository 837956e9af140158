"""Encoded frames to pixels of the wanted size."""

import contextlib
import io
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import Image

from data_pipelines.episode import Episode
from data_pipelines.sources.recording import Picture
from vidact.errors import UserError

MAX_PIXELS = 2**25
"""Largest frame that is read, 33 megapixels: a header may claim anything."""
FITS = ("stretch", "crop", "pad")
_JPEG = b"\xff\xd8\xff"

_SCRATCH = threading.local()

# Frames are small and several threads load them: OpenCV's own would only wait on each other.
cv2.setNumThreads(1)


class Placement(NamedTuple):
    """How a stored frame comes to the wanted size.

    Attributes:
      fit: "stretch" changes the aspect; "crop" keeps the middle that has the wanted aspect; "pad"
        keeps all of it and adds black.
      zoom: share of each side of the frame that is kept, 0 < zoom <= 1.
      left, top: where that part lies: 0 the left or upper edge, 1 the other.
      turned: whether the lowest row is stored first, as LIBERO's own files have it.
    """

    fit: str = "stretch"
    zoom: float = 1.0
    left: float = 0.5
    top: float = 0.5
    turned: bool = False


WHOLE = Placement()


def read(
    episode: Episode,
    camera: str,
    start: int,
    wanted: Sequence[int],
    out: UInt8[np.ndarray, "T H W 3"],
    stored: tuple[int | None, ...],
    placement: Placement = WHOLE,
) -> None:
    """Decodes a camera's frames start + i of an episode into out[i], for each i wanted.

    Args:
      episode: of enough steps.
      camera: one that it has.
      start, wanted: which frames; `wanted` ascending.
      out: see `decode`.
      stored: height and width that the files must have, None where they vary.
      placement: how they come to the size of `out`.

    Raises:
      UserError: one is damaged or has another size; names file, record, camera and step.
    """
    frames = episode.cameras[camera]
    assert frames is not None, f"{episode.name} has no {camera}"
    pictures = frames.read([start + i for i in wanted])
    for i, picture in zip(wanted, pictures, strict=True):
        try:
            decode(picture, out[i], stored, placement)
        except ValueError as error:
            raise UserError(
                f"{episode.name}: {camera} at step {start + i}: {error}; mend or remove the episode"
            ) from error


def decode(
    picture: Picture,
    out: UInt8[np.ndarray, "H W 3"],
    stored: tuple[int | None, ...] = (None, None),
    placement: Placement = WHOLE,
) -> None:
    """Brings a frame into `out`.

    Args:
      picture: a JPEG or PNG file, or pixels.
      out: where the sizes agree and it is C-contiguous, a JPEG is decoded in place.
      stored: height and width that it must have, None where they vary.
      placement: how it comes to the size of `out`.

    Raises:
      ValueError: not a sound JPEG or PNG, of another size, or of more than MAX_PIXELS.
    """
    if _decode_in_place(picture, out, stored, placement):
        return
    found = check_size(picture, stored)
    try:
        _decode(picture, found, out, placement)
    except ValueError as error:
        raise ValueError(f"cannot be decoded ({error})") from error


def check_size(picture: Picture, stored: tuple[int | None, ...]) -> tuple[int, int]:
    """Height and width, which must be those stored, None where they vary.

    Raises:
      ValueError: as `decode`, of what the header tells.
    """
    try:
        found = size(picture)
    except ValueError as error:
        raise ValueError(f"cannot be decoded ({error})") from error
    if any(want not in (None, got) for want, got in zip(stored, found, strict=True)):
        raise ValueError(
            f"is {found[0]}x{found[1]} where the data set states {stored[0]}x{stored[1]}"
        )
    return found


def _decode_in_place(
    picture: Picture, out: np.ndarray, stored: tuple[int | None, ...], placement: Placement
) -> bool:
    """Tries the fast way, for JPEG files of the size of `out`: their header is read once only."""
    if placement.turned or placement.zoom != 1 or stored != out.shape[:2]:
        return False
    if not is_jpeg(picture) or not out.flags.c_contiguous:
        return False
    try:
        return simplejpeg.decode_jpeg(picture, buffer=out).shape == out.shape
    except ValueError:  # larger than stated, or damaged: the slow way says which
        return False


def size(picture: Picture) -> tuple[int, int]:
    """Height and width; of a file what its header states, nothing is decoded.

    Raises:
      ValueError: not a JPEG or PNG, or of more than MAX_PIXELS.
    """
    if isinstance(picture, np.ndarray):
        return picture.shape[0], picture.shape[1]
    if is_jpeg(picture):
        height, width, _, _ = simplejpeg.decode_jpeg_header(picture)
    else:
        with _open_png(picture) as image:
            width, height = image.size
    if height * width > MAX_PIXELS:
        raise ValueError(f"{height}x{width} pixels; at most {MAX_PIXELS} are read")
    return height, width


def is_jpeg(picture: Picture) -> bool:
    """Whether a picture is a file that begins as JPEG files do."""
    return not isinstance(picture, np.ndarray) and picture[: len(_JPEG)] == _JPEG


def _decode(picture: Picture, found: tuple[int, int], out: np.ndarray, place: Placement) -> None:
    whole = found == out.shape[:2] and place.zoom == 1
    if whole and is_jpeg(picture) and not place.turned and out.flags.c_contiguous:
        simplejpeg.decode_jpeg(picture, buffer=out)
        return
    pixels = picture if isinstance(picture, np.ndarray) else _pixels(picture, found)
    pixels = pixels[::-1] if place.turned else pixels
    if whole:
        out[:] = pixels
    else:
        _place(pixels, out, place)


def _pixels(encoded: bytes | memoryview, found: tuple[int, int]) -> np.ndarray:
    """A file's pixels, which this thread's next call overwrites."""
    if is_jpeg(encoded):
        # Memory that is used again: fresh pages would cost a tenth of the work.
        out = getattr(_SCRATCH, "pixels", None)
        if out is None or out.shape[:2] != found:
            out = _SCRATCH.pixels = np.empty((*found, 3), np.uint8)
        return simplejpeg.decode_jpeg(encoded, buffer=out)
    with _open_png(encoded) as image:
        return np.asarray(image.convert("RGB"))


@contextlib.contextmanager
def _open_png(encoded: bytes | memoryview) -> Iterator[Image.Image]:
    try:
        with Image.open(io.BytesIO(encoded), formats=("PNG",)) as image:
            yield image
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # Pillow's complaints
        raise ValueError(f"not a sound JPEG or PNG file: {error}") from error


def _place(pixels: np.ndarray, out: np.ndarray, placement: Placement) -> None:
    pixels = _part(pixels, placement.zoom, placement.zoom, placement.left, placement.top)
    (height, width), (tall, wide) = pixels.shape[:2], out.shape[:2]
    ratio = (wide / tall) / (width / height)  # above 1: the wanted frame is wider
    if placement.fit == "crop":
        pixels = _part(pixels, min(1.0, 1 / ratio), min(1.0, ratio), 0.5, 0.5)
    elif placement.fit == "pad":
        tall_used = max(1, round(tall * min(1.0, ratio)))
        wide_used = max(1, round(wide * min(1.0, 1 / ratio)))
        top, left = (tall - tall_used) // 2, (wide - wide_used) // 2
        out[:] = 0
        out = out[top : top + tall_used, left : left + wide_used]
    _resize(pixels, out)


def _part(
    pixels: np.ndarray, high: float, wide: float, left: float, top: float
) -> UInt8[np.ndarray, "h w 3"]:
    """The part of a frame that keeps the shares `high` and `wide` of its sides."""
    height, width = pixels.shape[:2]
    h, w = max(1, round(height * high)), max(1, round(width * wide))
    y, x = round((height - h) * top), round((width - w) * left)
    return pixels[y : y + h, x : x + w]


def _resize(pixels: np.ndarray, out: np.ndarray) -> None:
    """Bilinear; by the mean over areas where both sides shrink, which keeps thin things."""
    height, width = out.shape[:2]
    if pixels.shape[:2] == (height, width):
        out[:] = pixels
        return
    shrinks = pixels.shape[0] >= height and pixels.shape[1] >= width
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    pixels = np.ascontiguousarray(pixels)
    if out.flags.c_contiguous:
        cv2.resize(pixels, (width, height), dst=out, interpolation=method)
    else:
        out[:] = cv2.resize(pixels, (width, height), interpolation=method)
