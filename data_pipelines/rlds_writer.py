"""Writes robot episodes as a TFDS/RLDS data set in ArrayRecord shards, without TensorFlow.

What it writes is read by `tfds.builder_from_directory(directory).as_data_source("train")`. The
directory appears in one piece: everything is written beside it and renamed at the end.
"""

import io
import os
import pathlib
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from jaxtyping import Float
from tensorflow_datasets.core import dataset_info, example_serializer, splits

from vidact import command
from vidact.errors import UserError

SPLIT = "train"
EPISODES_PER_SHARD = 64


def features(
    image_shape: tuple[int, int, int], state_size: int, action_size: int, metadata: Mapping
) -> tfds.features.FeaturesDict:
    """The RLDS features of an episode with one camera.

    Args:
      image_shape: height, width, 3.
      state_size: numbers in a state.
      action_size: numbers in an action.
      metadata: features of `episode_metadata`, as TFDS takes them.
    """
    step = {
        "observation": {
            "image": tfds.features.Image(shape=image_shape, encoding_format="jpeg"),
            "state": tfds.features.Tensor(shape=(state_size,), dtype=np.float32),
        },
        "action": tfds.features.Tensor(shape=(action_size,), dtype=np.float32),
        "reward": tfds.features.Scalar(dtype=np.float32),
        "discount": tfds.features.Scalar(dtype=np.float32),
        "is_first": tfds.features.Scalar(dtype=np.bool_),
        "is_last": tfds.features.Scalar(dtype=np.bool_),
        "is_terminal": tfds.features.Scalar(dtype=np.bool_),
        "language_instruction": tfds.features.Text(),
    }
    return tfds.features.FeaturesDict(
        {"steps": tfds.features.Dataset(step), "episode_metadata": dict(metadata)}
    )


def episode(
    images: Sequence[bytes],
    states: Float[np.ndarray, "T S"],
    actions: Float[np.ndarray, "T A"],
    rewards: Sequence[float],
    instruction: str,
    terminal: bool,
    metadata: Mapping[str, Any],
) -> dict[str, Any]:
    """Arranges one episode the way `write` takes it.

    Args:
      images: T JPEG files; kept byte for byte.
      states: before each action.
      actions: action i leads from image i to image i + 1.
      rewards: one per step.
      instruction: the same at every step.
      terminal: whether the task ended with the last step, rather than the recording.
      metadata: values for the features of `episode_metadata`.
    """
    last = len(images) - 1
    steps = [
        {
            "observation": {"image": io.BytesIO(images[i]), "state": states[i]},
            "action": actions[i],
            "reward": np.float32(rewards[i]),
            "discount": np.float32(0.0 if terminal and i == last else 1.0),
            "is_first": i == 0,
            "is_last": i == last,
            "is_terminal": terminal and i == last,
            "language_instruction": instruction,
        }
        for i in range(len(images))
    ]
    return {"steps": steps, "episode_metadata": dict(metadata)}


def write(
    directory: str | os.PathLike,
    episodes: Iterable[dict[str, Any]],
    spec: tfds.features.FeaturesDict,
    description: str,
    metadata: Mapping[str, Any],
    overwrite: bool = False,
) -> int:
    """Writes a data set to `directory`, which is `.../<name>/<version>`.

    Args:
      directory: its last two parts name the data set and its version, for example
        `metaworld_wide/1.0.0`.
      episodes: nested examples as `spec` has them; see `episode`.
      spec: the features; see `features`.
      description: what the data set is, for people.
      metadata: JSON-able facts that TFDS keeps in metadata.json, for example the frame rate.
      overwrite: replace what is there.

    Returns:
      The number of episodes.

    Raises:
      UserError: the directory exists, has no version in its name, or there were no episodes.
    """
    directory = pathlib.Path(directory).absolute()
    check_target(directory, overwrite)
    directory.parent.mkdir(parents=True, exist_ok=True)
    scratch = directory.parent / f".{directory.name}.{uuid.uuid4().hex[:8]}.writing"
    scratch.mkdir()
    try:
        count = _write_into(scratch, directory, episodes, spec, description, metadata)
        _replace(scratch, directory)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return count


def check_target(directory: pathlib.Path, overwrite: bool) -> None:
    """Refuses early what `write` would refuse at the end.

    Raises:
      UserError: the directory exists, cannot be made, or is not named `<name>/<version>`.
    """
    if not tfds.core.Version.is_valid(directory.name):
        raise UserError(f"{directory}: must end in a version; write {directory}/1.0.0")
    if not re.fullmatch(r"[a-zA-Z]\w*", directory.parent.name):
        raise UserError(
            f"{directory}: {directory.parent.name!r} cannot name a data set; use letters, digits, _"
        )
    command.check_writable(directory.parent)
    if directory.exists() and not overwrite:
        raise UserError(f"{directory}: exists; choose another folder or give --overwrite")
    if directory.exists() and not (directory / "features.json").is_file():
        raise UserError(f"{directory}: is no data set, and is not replaced; choose another folder")


def _write_into(scratch, directory, episodes, spec, description, metadata) -> int:
    """Writes shards, then features.json, dataset_info.json and metadata.json."""
    name = directory.parent.name
    lengths, size = _write_shards(scratch, name, episodes, spec)
    if not lengths:
        raise UserError(f"{directory}: there are no episodes to write; record at least one")
    info = dataset_info.DatasetInfo(
        builder=dataset_info.DatasetIdentity(
            name=name,
            version=tfds.core.Version(directory.name),
            data_dir=str(scratch),
            module_name="",
        ),
        description=description,
        features=spec,
        metadata=dataset_info.MetadataDict(metadata),
    )
    info.set_file_format(tfds.core.FileFormat.ARRAY_RECORD)
    template = tfds.core.ShardedFileTemplate(
        dataset_name=name, data_dir=scratch, split=SPLIT, filetype_suffix="array_record"
    )
    split = splits.SplitInfo(
        name=SPLIT, shard_lengths=lengths, num_bytes=size, filename_template=template
    )
    info.set_splits(splits.SplitDict([split]))
    info.write_to_directory(scratch)
    return sum(lengths)


def _write_shards(scratch, name, episodes, spec) -> tuple[list[int], int]:
    """Writes numbered shards, then gives them the names that hold their total."""
    serializer = example_serializer.ExampleSerializer(spec.get_serialized_info())
    lengths, size, paths = [], 0, []
    for shard in _batched(episodes, EPISODES_PER_SHARD):
        paths.append(scratch / f"shard-{len(paths)}")
        writer = ArrayRecordWriter(str(paths[-1]), "group_size:1")
        for example in shard:
            record = serializer.serialize_example(spec.encode_example(example))
            writer.write(record)
            size += len(record)
        writer.close()
        lengths.append(len(shard))
    for i, path in enumerate(paths):
        path.rename(scratch / f"{name}-{SPLIT}.array_record-{i:05d}-of-{len(paths):05d}")
    return lengths, size


def _batched(items: Iterable, size: int) -> Iterator[list]:
    batch: list = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _replace(scratch: pathlib.Path, directory: pathlib.Path) -> None:
    """Puts the finished folder in place; what was there goes only once the new one is complete."""
    if directory.exists():
        old = scratch.with_suffix(".old")
        directory.rename(old)
        scratch.rename(directory)
        shutil.rmtree(old)
    else:
        scratch.rename(directory)
