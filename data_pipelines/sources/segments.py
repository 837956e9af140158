"""The records of a converted data set's frames: a few consecutive frames of one camera each.

A record is their number and their sizes, little-endian 32-bit words, and then the files themselves.
"""

from collections.abc import Sequence

import numpy as np

from vidact.errors import UserError

FRAMES_PER_RECORD = 8
"""Measured: see docs/data.md and tests/benchmarks/record_layout.py."""
_WORD = np.dtype("<u4")


def pack(files: Sequence[bytes]) -> bytes:
    """One record of some frames' files, each below 4 GB."""
    words = np.array([len(files), *map(len, files)], _WORD)
    return b"".join([words.tobytes(), *files])


def unpack(record: bytes, count: int, where: str) -> list[bytes]:
    """The files of a record.

    Args:
      record: as `pack` makes it.
      count: how many it has to hold.
      where: file and record, for messages.

    Raises:
      UserError: it holds another number of frames, or sizes that do not add up.
    """
    head = (count + 1) * _WORD.itemsize
    words = np.frombuffer(record[:head], _WORD) if len(record) >= head else np.zeros(1, _WORD)
    ends = (np.cumsum(words[1:], dtype=np.int64) + head).tolist()
    if words[0] != count or ends[-1:] != [len(record)]:
        raise UserError(f"{where}: is no record of {count} frames; convert the data set again")
    return [record[begin:end] for begin, end in zip([head, *ends], ends)]
