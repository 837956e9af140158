"""Random access to the records of TFRecord and ArrayRecord shards, without TensorFlow."""

import bisect
import itertools
import struct
import threading
from collections.abc import Sequence

import google_crc32c
import numpy as np
from array_record.python import array_record_module
from etils import epath

from vidact.errors import UserError

_REMEDY = "copy or download the file again"
_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
_HEADER_BYTES = _LENGTH.size + _CRC.size


class TFRecordShard:
    """One TFRecord file: length (8 bytes), its crc32c, data, its crc32c, masked as TF does.

    The offsets are found on first use by reading the lengths only.
    """

    def __init__(self, path: epath.Path):
        self.path = path
        self._offsets: np.ndarray | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._index())

    def read(self, position: int) -> bytes:
        """The record's bytes, its checksum checked."""
        offset = int(self._index()[position])
        where = f"{self.path}: record {position}"
        with self.path.open("rb") as file:
            file.seek(offset)
            length = _read_length(file.read(_HEADER_BYTES), where)
            data = file.read(length)
            crc = file.read(_CRC.size)
        _check(data, crc, where)
        return data

    def _index(self) -> np.ndarray:
        with self._lock:
            if self._offsets is None:
                self._offsets = self._scan()
            return self._offsets

    def _scan(self) -> np.ndarray:
        offsets, offset, size = [], 0, self.path.stat().length
        with self.path.open("rb") as file:
            while offset < size:
                where = f"{self.path}: record {len(offsets)}"
                file.seek(offset)
                length = _read_length(file.read(_HEADER_BYTES), where)
                offsets.append(offset)
                offset += _HEADER_BYTES + length + _CRC.size
                if offset > size:
                    raise UserError(
                        f"{where}: truncated, the file ends {offset - size} bytes early; {_REMEDY}"
                    )
        return np.asarray(offsets, np.int64)


def _read_length(header: bytes, where: str) -> int:
    if len(header) < _HEADER_BYTES:
        raise UserError(f"{where}: truncated in its header; {_REMEDY}")
    _check(header[: _LENGTH.size], header[_LENGTH.size :], where)
    return _LENGTH.unpack_from(header)[0]


def _check(data: bytes, crc: bytes, where: str) -> None:
    if len(crc) < _CRC.size:
        raise UserError(f"{where}: truncated; {_REMEDY}")
    if masked_crc32c(data) != _CRC.unpack(crc)[0]:
        raise UserError(f"{where}: corrupt (checksum differs); {_REMEDY}")


def masked_crc32c(data: bytes) -> int:
    """The checksum of the TFRecord format: crc32c, rotated and offset."""
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


class ArrayRecordShard:
    """One ArrayRecord file; its own index and checksums find records and damage."""

    def __init__(self, path: epath.Path):
        self.path = path
        self._reader = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._open().num_records()

    def read(self, position: int) -> bytes:
        """The record's bytes, its checksum checked."""
        reader = self._open()
        try:
            return reader.read([position])[0]
        except (RuntimeError, IndexError) as error:
            self._reader = None  # a reader that met damage refuses sound records too
            raise UserError(
                f"{self.path}: record {position}: corrupt ({_one_line(error)}); {_REMEDY}"
            ) from error

    def _open(self):
        with self._lock:
            if self._reader is None:
                self._reader = _open_array_record(self.path)
            return self._reader


def _open_array_record(path: epath.Path):
    # No read-ahead: records are read in random order.
    reader = array_record_module.ArrayRecordReader(
        str(path), options="readahead_buffer_size:0", file_reader_buffer_size=32768
    )
    if not reader.ok():
        try:
            reader.read([0])
            reason = "its index cannot be read"
        except RuntimeError as error:
            reason = _one_line(error)
        raise UserError(f"{path}: truncated or corrupt ({reason}); {_REMEDY}")
    return reader


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


class Records:
    """The records of several shards, one after the other, by random access."""

    def __init__(self, shards: Sequence[TFRecordShard | ArrayRecordShard], lengths: Sequence[int]):
        """Args: shards: at least one. lengths: how many records each is said to hold.

        Raises:
          UserError: a shard's file is missing.
        """
        for shard in shards:
            if not shard.path.exists():
                raise UserError(f"{shard.path}: missing; {_REMEDY}")
        self.paths = [shard.path for shard in shards]
        self._shards = list(shards)
        self._lengths = list(lengths)
        self._ends = list(itertools.accumulate(lengths))

    def __len__(self) -> int:
        return self._ends[-1]

    def locate(self, index: int) -> tuple[str, int]:
        """The file's name and the position in it of record `index`, 0 <= index < len."""
        shard, position = self._find(index)
        return str(self._shards[shard].path), position

    def read(self, index: int) -> bytes:
        """The bytes of record `index`, 0 <= index < len.

        Raises:
          UserError: the record is damaged or its file holds another number of records.
        """
        shard, position = self._find(index)
        found, stated = len(self._shards[shard]), self._lengths[shard]
        if found != stated:
            raise UserError(
                f"{self._shards[shard].path}: holds {found} records where dataset_info.json "
                f"states {stated}; {_REMEDY}"
            )
        return self._shards[shard].read(position)

    def _find(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        shard = bisect.bisect_right(self._ends, index)
        return shard, index - (self._ends[shard] - self._lengths[shard])
