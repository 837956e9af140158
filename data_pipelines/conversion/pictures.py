"""Frames as a converted data set stores them: JPEG files, each known to be sound."""

import numpy as np
import simplejpeg

from data_pipelines import frames
from data_pipelines.sources.recording import Frames, Picture
from vidact.errors import UserError

QUALITY = 95
_AT_ONCE = 64  # frames; of a video they are pixels, and a long episode's would not fit in memory


def stored(
    camera: Frames, stated: tuple[int | None, ...], resize: tuple[int, int] | None, where: str
) -> list[bytes]:
    """All frames of a camera as JPEG files.

    Every frame is decoded once, so that damage is found now and not by a training. A JPEG file of
    the wanted size stays as it is, bit by bit; all else is encoded with quality 95 and 4:2:0.

    Args:
      camera: of n frames.
      stated: height and width that they must have, None where they vary.
      resize: height and width that they get, or None.
      where: episode and camera, for messages.

    Raises:
      UserError: a frame cannot be read; names the step.
    """
    files: list[bytes] = []
    while len(files) < len(camera):
        steps = range(len(files), min(len(files) + _AT_ONCE, len(camera)))
        for step, picture in zip(steps, camera.read(steps), strict=True):
            try:
                files.append(_file(picture, stated, resize))
            except ValueError as error:
                raise UserError(
                    f"{where} at step {step}: {error}; mend or remove the episode"
                ) from error
    return files


def _file(
    picture: Picture, stated: tuple[int | None, ...], resize: tuple[int, int] | None
) -> bytes:
    try:
        found = frames.size(picture)
    except ValueError as error:
        raise ValueError(f"cannot be decoded ({error})") from error
    pixels = np.empty((*(resize or found), 3), np.uint8)
    frames.decode(picture, pixels, stated)
    if frames.is_jpeg(picture) and found == pixels.shape[:2]:
        return bytes(picture)
    return simplejpeg.encode_jpeg(pixels, quality=QUALITY, colorsubsampling="420")
