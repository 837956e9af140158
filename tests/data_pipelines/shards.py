"""Small RLDS data sets that tests write themselves, in both shard formats."""

import io
import json
import pathlib
import struct

import ml_collections
import numpy as np
import simplejpeg
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordReader
from etils import epath
from tensorflow_datasets.proto import tf_example_pb2

from configs import base
from data_pipelines import rlds_writer
from data_pipelines.data_set import DataSet
from data_pipelines.episode import keys
from data_pipelines.episodes import Episodes
from data_pipelines.sources.records import TFRecordShard, masked_crc32c
from data_pipelines.sources.rlds import open_rlds

FORMATS = ("array_record", "tfrecord")
STATE_SIZE = 3
ACTION_SIZE = 2
CAMERA, WRIST = "observation/image", "observation/wrist"
WRIST_SIZE = 24


def episode(number: int, steps: int = 6, size: int = 16) -> dict:
    """Episode `number`: frame i is a flat grey of 8 * i + number, action i is (i, number)."""
    images = [_grey(8 * i + number, size) for i in range(steps)]
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


def with_wrist(episode: dict) -> dict:
    """The episode with a second camera of other size, whose frames are brighter by 100."""
    for i, step in enumerate(episode["steps"]):
        number = int(step["action"][1])
        step["observation"]["wrist"] = io.BytesIO(_grey(100 + 8 * i + number, WRIST_SIZE))
    return episode


def _grey(value: int, size: int) -> bytes:
    pixels = np.full((size, size, 3), value, np.uint8)
    return simplejpeg.encode_jpeg(pixels, quality=95, colorsubsampling="444")


def write(
    root: pathlib.Path, episodes: list[dict], file_format: str = "array_record", size: int = 16
) -> pathlib.Path:
    """Writes the episodes to root/toy/1.0.0 and returns that folder."""
    folder = root / "toy" / "1.0.0"
    spec = rlds_writer.features((size, size, 3), STATE_SIZE, ACTION_SIZE, {})
    if episodes and "wrist" in episodes[0]["steps"][0]["observation"]:
        spec = _with_wrist(spec)
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
    """A config.data for the toy data set; keys that no configuration has are refused."""
    data = base.get_config().data
    data.update(root=str(root), frames=4, resolution=(16, 16), held_out=0.25)
    data.update(max_words=4, vocabulary=64, cache_mb=4)
    data.update(changes)
    return data


def opened(
    root: pathlib.Path | str,
    *cameras: str,
    split: str = "train",
    fps: float | None = None,
    **named,
) -> DataSet:
    """The data set seen through keys, by default those of `write`."""
    return DataSet(open_rlds(str(root), split), keys(*cameras, **named), fps)


def episodes(root: pathlib.Path | str, *cameras: str, max_bytes: int = 10_000) -> Episodes:
    """The data set's episodes with a memory."""
    return Episodes([opened(root, *cameras)], max_bytes)


def drop_frame(path: pathlib.Path, camera: str) -> None:
    """Takes a camera's last frame out of a TFRecord file of one episode."""
    example = tf_example_pb2.Example.FromString(TFRecordShard(epath.Path(path)).read(0))
    example.features.feature[f"steps/{camera}"].bytes_list.value.pop()
    path.write_bytes(_framed(example.SerializeToString()))


def _with_wrist(spec: tfds.features.FeaturesDict) -> tfds.features.FeaturesDict:
    step = dict(spec["steps"].feature.items())
    wrist = tfds.features.Image(shape=(WRIST_SIZE, WRIST_SIZE, 3), encoding_format="jpeg")
    step["observation"] = {**step["observation"], "wrist": wrist}
    metadata = dict(spec["episode_metadata"].items())
    return tfds.features.FeaturesDict(
        {"steps": tfds.features.Dataset(step), "episode_metadata": metadata}
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
