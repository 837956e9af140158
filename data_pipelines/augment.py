"""Augmentation: one random crop and one change of colours per clip, the same for all its frames."""

from typing import NamedTuple

import ml_collections
import numpy as np
from jaxtyping import UInt8

from data_pipelines.frames import Placement
from vidact.errors import UserError

_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601, as image editors and octo weigh


class Change(NamedTuple):
    """What happens to a clip.

    Attributes:
      placement: which part of the frames is kept, and how it comes to its size.
      brightness: added, as a share of white.
      contrast: factor of the distance from the clip's mean.
      saturation: factor of the distance from grey.
    """

    placement: Placement
    brightness: float = 0.0
    contrast: float = 1.0
    saturation: float = 1.0


def check(settings: ml_collections.ConfigDict, stored: bool) -> None:
    """Refuses what cannot be drawn.

    Args:
      settings: config.data.augment.
      stored: whether latents are, so that no pixel is there to change.

    Raises:
      UserError: names the key.
    """
    for key, value in settings.items():
        if not 0 <= value <= 1 or (key == "zoom" and value == 0):
            limits = "above 0 and at most 1" if key == "zoom" else "in [0, 1]"
            raise UserError(f"config.data.augment.{key}={value}: must be {limits}")
    if stored and not is_none(settings):
        raise UserError(
            "config.data.augment: changes pixels, and latents are stored; leave it at zoom=1 and "
            "the others at 0, or train from pixels, without config.data.encoded"
        )


def is_none(settings: ml_collections.ConfigDict) -> bool:
    """Whether config.data.augment changes nothing, whatever is drawn."""
    return settings.to_dict() == {"zoom": 1.0, "brightness": 0, "contrast": 0, "saturation": 0}


def draw(
    settings: ml_collections.ConfigDict, plain: Placement, place: tuple[int, int, int]
) -> Change:
    """The change of one clip: a pure function of its place in the training.

    Args:
      settings: config.data.augment.
      plain: how frames come to their size without a change.
      place: seed, step and row.
    """
    random = np.random.default_rng(place)
    zoom = random.uniform(settings.zoom, 1.0)
    left, top = random.uniform(0, 1, 2).tolist()
    return Change(
        plain._replace(zoom=zoom, left=left, top=top),
        brightness=random.uniform(-settings.brightness, settings.brightness),
        contrast=random.uniform(1 - settings.contrast, 1 + settings.contrast),
        saturation=random.uniform(1 - settings.saturation, 1 + settings.saturation),
    )


def apply_colours(video: UInt8[np.ndarray, "T H W 3"], change: Change) -> None:
    """Changes a clip's colours in place."""
    if (change.brightness, change.contrast, change.saturation) == (0.0, 1.0, 1.0):
        return
    mean = float(video.mean())
    for frame in video:
        pixels = frame.astype(np.float32)
        grey = (pixels @ _GREY)[..., None]
        pixels = grey + change.saturation * (pixels - grey)
        pixels = mean + change.contrast * (pixels - mean) + 255 * change.brightness
        np.clip(np.rint(pixels), 0, 255, out=pixels)
        frame[:] = pixels
