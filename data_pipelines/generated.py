"""Episodes made up for measuring: their frames compress and decode as photographs do."""

import pathlib
from collections.abc import Iterator

import cv2
import numpy as np
import simplejpeg
from jaxtyping import UInt8

from data_pipelines import rlds_writer

STATE_SIZE, ACTION_SIZE = 7, 7
QUALITY = 95
# Blurred noise over a smooth picture: 24 KB a frame of 256 x 256, as OXE's fractal.
_GRAIN, _BLUR = 11.0, 1.6
_PAN = 3  # pixels a step


def frames(rng: np.random.Generator, count: int, size: int) -> Iterator[UInt8[np.ndarray, "_ _ 3"]]:
    """A camera that pans over one picture: `count` frames of size x size pixels."""
    wide = size + _PAN * count
    coarse = rng.integers(0, 256, (8, 8, 3)).astype(np.float32)
    picture = cv2.resize(coarse, (wide, size), interpolation=cv2.INTER_CUBIC)
    noise = cv2.GaussianBlur(rng.standard_normal((size, wide, 3), np.float32), (0, 0), _BLUR)
    whole = np.clip(picture + _GRAIN * noise / noise.std(), 0, 255).astype(np.uint8)
    for begin in range(0, _PAN * count, _PAN):
        yield np.ascontiguousarray(whole[:, begin : begin + size])


def jpegs(rng: np.random.Generator, count: int, size: int) -> list[bytes]:
    """The same as JPEG files of quality 95, 4:2:0."""
    return [
        simplejpeg.encode_jpeg(frame, quality=QUALITY, colorsubsampling="420")
        for frame in frames(rng, count, size)
    ]


def write(folder: pathlib.Path, episodes: int, steps: tuple[int, int], size: int = 256) -> None:
    """Writes an RLDS data set.

    Args:
      folder: `.../<name>/<version>`.
      episodes: how many.
      steps: of an episode, at least and at most.
      size: height and width of the frames.
    """
    spec = rlds_writer.features((size, size, 3), STATE_SIZE, ACTION_SIZE, {})
    made = (_episode(number, steps, size) for number in range(episodes))
    rlds_writer.write(folder, made, spec, "episodes made up for measuring", {"fps": 20.0})


def _episode(number: int, steps: tuple[int, int], size: int) -> dict:
    rng = np.random.default_rng(number)
    count = int(rng.integers(steps[0], steps[1], endpoint=True))
    return rlds_writer.episode(
        images=jpegs(rng, count, size),
        states=rng.standard_normal((count, STATE_SIZE), np.float32),
        actions=rng.standard_normal((count, ACTION_SIZE), np.float32),
        rewards=[0.0] * count,
        instruction=f"do task {number % 4}",
        terminal=True,
        metadata={},
    )
