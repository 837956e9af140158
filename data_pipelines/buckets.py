"""Batches of several shapes: clips go where they are neither cut nor stretched much.

Each bucket holds as many tokens a batch as config.data's own shape does: long or large clips come
in smaller batches, so that steps cost alike.
"""

import math
from collections.abc import Sequence

import ml_collections
import numpy as np
from jaxtyping import Int

from data_pipelines.loading import Bucket
from vidact.errors import UserError


def make_buckets(config: ml_collections.ConfigDict, batch_size: int, multiple: int) -> list[Bucket]:
    """The buckets of config.data.buckets, each (frames, height, width), or the one of config.data.

    Args:
      config: config.data.
      batch_size: of config.data's own shape, over all processes.
      multiple: what other batch sizes are multiples of.

    Raises:
      UserError: an entry is no three positive numbers, comes twice, or has more tokens than a batch
        of one window for each of `multiple` may.
    """
    own = Bucket(config.frames, tuple(config.resolution), batch_size)
    if not config.buckets:
        return [own]
    tokens = batch_size * own.frames * math.prod(own.resolution)
    shapes = [tuple(entry) for entry in config.buckets]
    if len(set(shapes)) != len(shapes):
        raise UserError("config.data.buckets: a shape comes twice; give each once")
    return [_bucket(shape, tokens, multiple) for shape in shapes]


def _bucket(entry: Sequence[int], tokens: int, multiple: int) -> Bucket:
    if len(entry) != 3 or min(entry) < 1 or entry[0] < 2:
        raise UserError(
            f"config.data.buckets: {entry}: give (frames, height, width), two frames or more"
        )
    frames, height, width = entry
    size = tokens // (frames * height * width) // multiple * multiple
    if not size:
        raise UserError(
            f"config.data.buckets: {entry}: a batch of {multiple} has more pixels than one of "
            "config.data's own shape; raise the batch size or leave it out"
        )
    return Bucket(frames, (height, width), size)


def assign(
    buckets: Sequence[Bucket], shape: Sequence[int | None], lengths: Int[np.ndarray, " E"]
) -> Int[np.ndarray, " E"]:
    """The bucket of each episode of a data set.

    Of the buckets whose aspect is nearest to the frames', the longest that the episode fills, or
    the shortest if it fills none. Frames of varying size go by length alone.

    Args:
      buckets: at least one.
      shape: height and width of the frames, None where they vary.
      lengths: steps of each episode.
    """
    height, width = shape
    aspects = np.array([math.log(b.resolution[1] / b.resolution[0]) for b in buckets])
    wanted = math.log(width / height) if height and width else aspects.mean()
    distance = np.abs(aspects - wanted)
    near = np.flatnonzero(distance <= distance.min() + 1e-9)
    near = near if height and width else np.arange(len(buckets))
    by_length = near[np.argsort([buckets[int(i)].frames for i in near], kind="stable")]
    frames = np.array([buckets[int(i)].frames for i in by_length])
    filled = np.searchsorted(frames, lengths, side="right") - 1
    return by_length[np.maximum(filled, 0)]
