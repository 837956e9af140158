"""The generated episodes as the peers' programs read them."""

import pathlib
import struct
from collections.abc import Iterator

import numpy as np
from etils import epath

from data_pipelines import opening
from data_pipelines.measuring import data
from data_pipelines.sources import records

TFRECORDS, JPEGS, VIDEOS = "tfrecords", "jpegs", "videos"
_PER_FILE = 5  # episodes; several files, so that they can be read side by side


def tfrecords(folder: pathlib.Path) -> pathlib.Path:
    """Writes the records of `folder/raw` anew as TFRecord files, each named by its first episode.

    Returns:
      `folder/tfrecords`, which is left alone where it is there.
    """
    out = folder / TFRECORDS
    if not out.exists():
        scratch = _scratch(out)
        found = _records(folder / "raw" / "1.0.0")
        for number, record in enumerate(found):
            path = scratch / f"{number - number % _PER_FILE:05d}.tfrecord"
            with path.open("ab") as file:
                file.write(_framed(record))
        scratch.rename(out)
    return out


def jpegs(folder: pathlib.Path) -> pathlib.Path:
    """Writes each episode's JPEG files one after the other, and where each begins, as an npz file.

    Returns:
      `folder/jpegs`, which is left alone where it is there.
    """
    out = folder / JPEGS
    if not out.exists():
        scratch = _scratch(out)
        source = opening.open_source(data.config(folder / "raw"))
        for number in range(len(source)):
            (camera,) = source.episode(number).cameras.values()
            assert camera is not None
            files = [bytes(file) for file in camera.read(range(len(camera)))]
            edges = np.cumsum([0, *map(len, files)])
            joined = np.frombuffer(b"".join(files), np.uint8)
            np.savez(scratch / f"{number:05d}.npz", edges=edges, bytes=joined)
        scratch.rename(out)
    return out


def _records(raw: pathlib.Path) -> Iterator[bytes]:
    for path in sorted(raw.glob("*.array_record-*")):
        shard = records.ArrayRecordShard(epath.Path(path))
        yield from (shard.read(position) for position in range(len(shard)))


def _framed(record: bytes) -> bytes:
    """Length and data, each followed by its masked checksum."""
    length = struct.pack("<Q", len(record))
    parts = (length, record)
    return b"".join(part + struct.pack("<I", records.masked_crc32c(part)) for part in parts)


def _scratch(out: pathlib.Path) -> pathlib.Path:
    """An empty folder beside `out`, to be renamed once it is complete."""
    scratch = out.with_name(f".{out.name}")
    scratch.mkdir(parents=True, exist_ok=True)
    for path in scratch.iterdir():
        path.unlink()
    return scratch
