"""Some frames of a camera side by side, as one picture."""

import base64
from typing import NamedTuple

import numpy as np
import simplejpeg

from data_pipelines import frames
from data_pipelines.sources.recording import Frames

SHOWN = 8
"""Frames of a strip."""
_HEIGHT, _MAX_WIDTH = 120, 360  # of a frame; a smaller one is not enlarged
_GAP = 2
_FLAT = 2.0  # of 255: a camera that was off gives one colour, up to the noise of JPEG


class Strip(NamedTuple):
    """A picture of `SHOWN` frames or fewer.

    Attributes:
      source: a data URI.
      steps: which frames.
      aspect: of the picture, width / height.
      flat: whether all frames are of one colour.
    """

    source: str
    steps: tuple[int, ...]
    aspect: float
    flat: bool


def strip(camera: Frames) -> Strip:
    """Frames spread evenly over an episode, the first and the last among them.

    Args:
      camera: of at least one frame.

    Raises:
      UserError: they cannot be read.
      ValueError: one cannot be decoded.
    """
    steps = spread(len(camera), SHOWN)
    pictures = camera.read(steps)
    height, width = frames.size(pictures[0])
    tall = min(height, _HEIGHT)
    wide = max(1, min(round(width * tall / height), _MAX_WIDTH))
    shown = np.full((tall, len(steps), wide + _GAP, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        pixels = np.empty((tall, wide, 3), np.uint8)
        frames.decode(picture, pixels, placement=frames.Placement("pad"))
        shown[:, i, :wide] = pixels
    flat = float(np.ptp(shown[:, :, :wide].reshape(-1, 3), axis=0).max()) <= _FLAT
    whole = np.ascontiguousarray(shown.reshape(tall, -1, 3)[:, :-_GAP])
    encoded = base64.b64encode(simplejpeg.encode_jpeg(whole, quality=82)).decode()
    return Strip(
        f"data:image/jpeg;base64,{encoded}", tuple(steps), whole.shape[1] / whole.shape[0], flat
    )


def spread(count: int, wanted: int) -> list[int]:
    """At most `wanted` of 0 ... count - 1, ascending, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, wanted).round().astype(int)).tolist()
