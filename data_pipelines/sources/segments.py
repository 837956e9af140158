"""The records of a converted data set's frames: a few consecutive frames of one camera each.

A record is their number and their sizes, little-endian 32-bit words, and then the files themselves.
"""

import itertools
import struct
from collections.abc import Sequence

from vidact.errors import UserError

FRAMES_PER_RECORD = 8
"""Measured: see docs/data.md and tests/benchmarks/record_layout.py."""
_WORD_BYTES = 4


def pack(files: Sequence[bytes]) -> bytes:
    """One record of some frames' files, each below 4 GB."""
    head = struct.pack(f"<{len(files) + 1}I", len(files), *map(len, files))
    return b"".join([head, *files])


def unpack(record: bytes, count: int, where: str) -> list[memoryview]:
    """The files of a record, not copied.

    Args:
      record: as `pack` makes it.
      count: how many it has to hold.
      where: file and record, for messages.

    Raises:
      UserError: it holds another number of frames, or sizes that do not add up.
    """
    told = f"is no record of {count} frames; convert the data set again"
    head = (count + 1) * _WORD_BYTES
    if len(record) < head:
        raise UserError(f"{where}: {told}")
    found, *sizes = struct.unpack_from(f"<{count + 1}I", record)
    ends = list(itertools.accumulate(sizes, initial=head))
    if found != count or ends[-1] != len(record):
        raise UserError(f"{where}: {told}")
    view = memoryview(record)
    return [view[begin:end] for begin, end in itertools.pairwise(ends)]
