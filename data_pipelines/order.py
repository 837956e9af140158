"""Which windows batch k holds: a pure function of (seed, k).

Each part (a data set's windows of one shape) is shuffled globally by index, without a buffer, and
anew each epoch. Parts of one shape take turns so that after any number of windows each has had its
share to within one; batches of several shapes take turns likewise. Nothing depends on threads, on
the number of processes or on where reading began.
"""

from collections.abc import Sequence
from typing import NamedTuple

import grain
import numpy as np
from jaxtyping import Int

_SPREAD = 0x9E3779B1  # parts of one length must not go through it in one order


class Part(NamedTuple):
    """Windows begin <= index < end, which batches hold in proportion to `weight` (above 0)."""

    begin: int
    end: int
    weight: float


class Drawn(NamedTuple):
    """What a batch consists of.

    Attributes:
      step: k.
      bucket: which shape.
      whole: windows of all processes.
      block: which of them are this process's.
    """

    step: int
    bucket: int
    whole: Int[np.ndarray, " B"]
    block: slice

    @property
    def indices(self) -> Int[np.ndarray, " b"]:
        """Windows of this process."""
        return self.whole[self.block]


def order(
    buckets: Sequence[Sequence[Part]],
    batch_sizes: Sequence[int],
    seed: int,
    process: int = 0,
    processes: int = 1,
) -> grain.MapDataset:
    """Step -> `Drawn`, endless.

    Args:
      buckets: parts by shape; at least one each, and weights that sum up over all of them.
      batch_sizes: of each bucket, over all processes; multiples of `processes`.
      seed: 0 <= seed < 2**32.
      process, processes: which contiguous block of each batch to give out.
    """
    batches, weights = [], []
    for number, (parts, size) in enumerate(zip(buckets, batch_sizes, strict=True)):
        share = size // processes
        block = slice(process * share, (process + 1) * share)
        shuffled = [_shuffled(part, seed + _SPREAD * i) for i, part in enumerate(parts)]
        mixed = _mixed(shuffled, [part.weight for part in parts])
        # Names bound now: the function is called when the loop is over.
        batches.append(
            mixed.batch(size, drop_remainder=True).map(
                lambda whole, number=number, block=block: (number, whole, block)
            )
        )
        # A bucket of small batches comes up more often, so that each window has its share.
        weights.append(sum(part.weight for part in parts) / size)
    return _mixed(batches, weights).map_with_index(_drawn)


def _shuffled(part: Part, seed: int) -> grain.MapDataset:
    windows = grain.MapDataset.range(part.begin, part.end)
    return windows.seed(seed % 2**32).shuffle().repeat()


def _mixed(parts: Sequence[grain.MapDataset], weights: Sequence[float]) -> grain.MapDataset:
    return parts[0] if len(parts) == 1 else grain.MapDataset.mix(parts, weights)


def _drawn(step: int, found: tuple[int, np.ndarray, slice]) -> Drawn:
    return Drawn(step, *found)
