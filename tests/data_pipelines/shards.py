"""Small RLDS data sets that tests write themselves, in both shard formats."""

import json
import pathlib
import struct

import ml_collections
import numpy as np
import simplejpeg
from array_record.python.array_record_module import ArrayRecordReader

from data_pipelines import rlds_writer
from data_pipelines.sources.records import masked_crc32c

FORMATS = ("array_record", "tfrecord")
STATE_SIZE = 3
ACTION_SIZE = 2


def episode(number: int, steps: int = 6, size: int = 16) -> dict:
    """Episode `number`: frame i is a flat grey of 8 * i + number, action i is (i, number)."""
    images = [_jpeg(np.full((size, size, 3), 8 * i + number, np.uint8)) for i in range(steps)]
    states = np.arange(steps)[:, None] + np.arange(STATE_SIZE) / 10 + number
    actions = np.stack([np.arange(steps), np.full(steps, number)], axis=-1)
    return rlds_writer.episode(
        images=images,
        states=states.astype(np.float32),
        actions=actions.astype(np.float32),
        rewards=[0.0] * steps,
        instruction=f"Do task {number}",
        terminal=True,
        metadata={},
    )


def _jpeg(pixels: np.ndarray) -> bytes:
    return simplejpeg.encode_jpeg(pixels, quality=95, colorsubsampling="444")


def write(
    root: pathlib.Path, episodes: list[dict], file_format: str = "array_record", size: int = 16
) -> pathlib.Path:
    """Writes the episodes to root/toy/1.0.0 and returns that folder."""
    folder = root / "toy" / "1.0.0"
    spec = rlds_writer.features((size, size, 3), STATE_SIZE, ACTION_SIZE, {})
    rlds_writer.write(folder, episodes, spec, "toy episodes", {"fps": 20.0})
    if file_format == "tfrecord":
        _to_tfrecord(folder)
    return folder


def shard(folder: pathlib.Path, number: int = 0) -> pathlib.Path:
    """The data set's shard file `number`."""
    return sorted(folder.glob("*record-*"))[number]


def flip_byte(path: pathlib.Path, offset: int) -> None:
    """Damages one byte in place; a negative offset counts from the end."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 0xFF
    path.write_bytes(data)


def config(root: pathlib.Path | str, **changes) -> ml_collections.ConfigDict:
    """A config.data for the toy data set."""
    return ml_collections.ConfigDict(
        {
            "root": str(root),
            "split": "train",
            "image_key": "observation/image",
            "state_key": "observation/state",
            "action_key": "action",
            "instruction_key": "language_instruction",
            "frames": 4,
            "resolution": (16, 16),
            "fps": 20.0,
            "held_out": 0.25,
            "normalisation": "q01_q99",
            "max_words": 4,
            "vocabulary": 64,
            "cache_mb": 4,
            "threads": 2,
            **changes,
        }
    )


def _to_tfrecord(folder: pathlib.Path) -> None:
    """Copies the records, byte for byte, from ArrayRecord to TFRecord files."""
    for path in list(folder.glob("*array_record-*")):
        reader = ArrayRecordReader(str(path))
        records = reader.read_all()
        reader.close()
        target = path.with_name(path.name.replace("array_record", "tfrecord"))
        target.write_bytes(b"".join(map(_framed, records)))
        path.unlink()
    info = folder / "dataset_info.json"
    described = json.loads(info.read_text())
    described["fileFormat"] = "tfrecord"
    info.write_text(json.dumps(described))


def _framed(record: bytes) -> bytes:
    length = struct.pack("<Q", len(record))
    crcs = [struct.pack("<I", masked_crc32c(part)) for part in (length, record)]
    return length + crcs[0] + record + crcs[1]
