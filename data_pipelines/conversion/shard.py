"""Writes one shard of a converted data set, once: a shard that is there is left alone.

Everything is written in a folder of its own and then put in place: a file that is there is whole,
and two workers that write one shard at once, as some of Beam's runners have them do, do not meet;
what they put there is the same.
"""

import json
import pathlib
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from etils import epath

from data_pipelines.conversion import files, pictures
from data_pipelines.conversion.plan import Plan
from data_pipelines.sources import converted_shard as shard_lib
from data_pipelines.sources import digests, texts
from data_pipelines.sources.recording import Recording, Source
from data_pipelines.sources.segments import pack
from vidact import store
from vidact.errors import UserError

# JPEG does not compress further, and one record is read at a time.
_WRITER = "group_size:1,uncompressed"
_ALWAYS = (  # also in a shard of bad episodes only
    shard_lib.EPISODES,
    shard_lib.LENGTHS,
    shard_lib.BAD_EPISODES,
    shard_lib.BAD_REASONS,
)


def is_complete(plan: Plan, out: epath.Path, number: int) -> bool:
    """Whether both files of a shard are in place."""
    names = [name(number, plan.shards) for name in (shard_lib.steps_file, shard_lib.frames_file)]
    return all((out / name).exists() for name in names)


def write_shard(plan: Plan, source: Source, out: epath.Path, number: int) -> None:
    """Writes a shard, unless it is there.

    Episodes that cannot be read are noted in it, with the reason.

    Args:
      plan: what to do.
      source: which episodes come from.
      out: folder of the data set.
      number: 0 <= number < plan.shards.
    """
    if is_complete(plan, out, number):
        return
    with files.scratch(out) as folder:
        frames = folder / shard_lib.frames_file(number, plan.shards)
        steps = folder / shard_lib.steps_file(number, plan.shards)
        store.save(steps, _write(plan, source, plan.episodes_of(number), frames))
        files.put(frames, out)
        files.put(steps, out)


def _write(
    plan: Plan, source: Source, episodes: range, frames: pathlib.Path
) -> dict[str, np.ndarray]:
    """Writes the frames; returns the tensors of the steps file."""
    columns = _Columns(plan)
    writer = ArrayRecordWriter(str(frames), _WRITER)
    for index in episodes:
        try:
            recording = source.recording(index, tuple(plan.features))
            columns.check(recording)
            found = {
                path: pictures.stored(
                    recording.cameras[path],
                    source.features[path].shape[:2],
                    plan.resize,
                    f"{recording.name}: {path}",
                )
                for path in plan.paths("image")
            }
        except UserError as error:
            columns.add_bad(index, str(error))
            continue
        columns.add(index, recording, digests.of_episode(recording.features, found))
        for path in plan.paths("image"):
            for begin in range(0, recording.steps, plan.frames_per_record):
                writer.write(pack(found[path][begin : begin + plan.frames_per_record]))
    writer.close()
    return columns.arrays()


class _Columns:
    """Collects the tensors of a steps file."""

    def __init__(self, plan: Plan):
        self._paths = {kind: plan.paths(kind) for kind in ("array", "text")}
        self._table = texts.TextTable()
        self._columns: dict[str, list[Any]] = {}
        self._rows: dict[str, list[np.ndarray]] = {}

    def check(self, recording: Recording) -> None:
        """Raises: UserError: its numbers do not fit those of the episodes before it."""
        for path in self._paths["array"]:
            values = recording.features[path]
            first = self._rows.get(shard_lib.VALUES + path, [values])[0]
            if (values.dtype, values.shape[1:]) != (first.dtype, first.shape[1:]):
                raise UserError(
                    f"{recording.name}: {path} is {values.dtype} {values.shape[1:]} where others "
                    f"are {first.dtype} {first.shape[1:]}; mend or remove the episode"
                )

    def add(self, index: int, recording: Recording, digest: bytes) -> None:
        """Takes an episode."""
        for path, values in recording.features.items():
            is_text = values.dtype == object
            rows = self._table.numbers(values.tolist()) if is_text else values
            table = self._table.named(rows) if is_text else {}
            self._column(shard_lib.CRCS + path).append(texts.check(rows, table))
            self._rows.setdefault(shard_lib.VALUES + path, []).append(rows)
        told = json.dumps(recording.metadata, default=_plain)
        self._column(shard_lib.METADATA).append(self._table.numbers([told])[0])
        self._column(shard_lib.EPISODES).append(index)
        self._column(shard_lib.LENGTHS).append(recording.steps)
        self._column(shard_lib.DIGESTS).append(np.frombuffer(digest, np.uint8))

    def add_bad(self, index: int, reason: str) -> None:
        """Notes an episode that cannot be read."""
        self._column(shard_lib.BAD_EPISODES).append(index)
        self._column(shard_lib.BAD_REASONS).append(self._table.numbers([reason])[0])

    def arrays(self) -> dict[str, np.ndarray]:
        """All tensors."""
        empty = {name: np.zeros(0, np.int64) for name in _ALWAYS}
        empty[shard_lib.DIGESTS] = np.zeros((0, digests.SIZE), np.uint8)
        columns = {name: np.array(column) for name, column in self._columns.items()}
        rows = {name: np.concatenate(parts) for name, parts in self._rows.items()}
        return empty | columns | rows | self._table.arrays()

    def _column(self, name: str) -> list[Any]:
        return self._columns.setdefault(name, [])


def _plain(value: object) -> object:
    """A fact that JSON does not know: NumPy's numbers and arrays as lists, all else as text."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
