"""One shard of a converted data set: the numbers and texts of its episodes, and their frames apart.

steps-00003-of-00012.safetensors      all features of all its steps, one episode after the other
frames-00003-of-00012.array_record    per episode and camera one record per k frames
"""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from array_record.python import array_record_module
from jaxtyping import Int, Shaped

from data_pipelines.sources import texts
from data_pipelines.sources.recording import Feature
from data_pipelines.sources.segments import unpack
from data_pipelines.sources.tensors import Rows, TensorFile
from vidact import store
from vidact.errors import UserError

REMEDY = "copy the file again, or delete it and run python -m data_pipelines.convert again"
# Tensors of a steps file beside those of `data_pipelines.sources.texts`.
EPISODES, LENGTHS, DIGESTS, METADATA = "episodes", "lengths", "digests", "metadata"
BAD_EPISODES, BAD_REASONS = "bad_episodes", "bad_reasons"
VALUES, CRCS = "values:", "crc32c:"  # and a feature's path
# Random access: no read-ahead, and no threads of its own beside those that load windows.
_READER = "readahead_buffer_size:0,max_parallelism:0"
_READER_BUFFER = 2**15


def steps_file(number: int, total: int) -> str:
    """Name of a shard's numbers and texts."""
    return f"steps-{number:05d}-of-{total:05d}.safetensors"


def frames_file(number: int, total: int) -> str:
    """Name of a shard's frames."""
    return f"frames-{number:05d}-of-{total:05d}.array_record"


@dataclasses.dataclass(frozen=True)
class Layout:
    """What all shards of a data set have in common.

    Attributes:
      folder: where they lie.
      total: number of shards.
      features: path -> what it is; the cameras among them have frames.
      frames_per_record: k.
    """

    folder: pathlib.Path
    total: int
    features: Mapping[str, Feature]
    frames_per_record: int

    @functools.cached_property
    def cameras(self) -> tuple[str, ...]:
        """In the order of their records."""
        return tuple(sorted(p for p, feature in self.features.items() if feature.kind == "image"))


class ConvertedShard:
    """Reads one shard; its frames stay open from their first use on. Thread-safe."""

    def __init__(self, layout: Layout, number: int, lengths: Int[np.ndarray, " e"]):
        """Args: number: which shard. lengths: steps of its episodes."""
        self._layout = layout
        self._steps_path = layout.folder / steps_file(number, layout.total)
        self._frames_path = layout.folder / frames_file(number, layout.total)
        self._lengths = lengths
        self._begins = np.cumsum([0, *lengths])
        k = layout.frames_per_record
        self._segments = -(-lengths.astype(np.int64) // k)
        self._records = np.cumsum([0, *(self._segments * len(layout.cameras))])

    def __len__(self) -> int:
        return len(self._lengths)

    def name(self, position: int) -> str:
        """Of an episode, for messages."""
        return f"{self._steps_path}: episode {position}"

    def read(
        self, position: int, paths: Collection[str]
    ) -> tuple[dict[str, Shaped[np.ndarray, "n ..."]], dict[str, object]]:
        """Features of an episode (see `Recording.features`), and its own facts as JSON has them.

        Raises:
          UserError: the file is missing or damaged.
        """
        with self._steps.opened() as rows:
            features = {path: self._rows(rows, position, path) for path in paths}
            return features, self._facts(rows, position)

    def frames(self, position: int, camera: str, steps: Sequence[int]) -> list[memoryview]:
        """Files of an episode's frames at ascending steps.

        Raises:
          UserError: a record is missing or damaged; names it.
        """
        k = self._layout.frames_per_record
        segments = sorted({step // k for step in steps})
        place = self._layout.cameras.index(camera) * int(self._segments[position])
        first = int(self._records[position]) + place
        length = int(self._lengths[position])
        files = {}
        for segment, record in zip(segments, self._read([first + s for s in segments])):
            where = f"{self._frames_path}: record {first + segment}"
            files[segment] = unpack(record, min(k, length - segment * k), where)
        return [files[step // k][step % k] for step in steps]

    @functools.cached_property
    def _steps(self) -> TensorFile:
        found = TensorFile(self._steps_path)
        with store.reader(self._steps_path) as reader:
            lengths = reader.get(LENGTHS) if LENGTHS in reader.shapes else np.zeros(0)
        if not np.array_equal(lengths, self._lengths):
            raise UserError(f"{self._steps_path}: belongs to another data set; {REMEDY}")
        return found

    def _facts(self, rows: Rows, position: int) -> dict[str, object]:
        number = rows.part(METADATA, slice(position, position + 1))
        try:
            (told,) = texts.read(rows, number).values()
            return json.loads(told)
        except ValueError as error:
            raise UserError(f"{self.name(position)}: metadata is corrupt; {REMEDY}") from error

    def _rows(self, rows: Rows, position: int, path: str) -> np.ndarray:
        begin, end = self._begins[position : position + 2].tolist()
        for name in (VALUES + path, CRCS + path):
            if name not in self._steps.shapes:
                raise UserError(f"{self._steps_path}: has no {name}; {REMEDY}")
        values = rows.part(VALUES + path, slice(begin, end))
        is_text = self._layout.features[path].kind == "text"
        stated = rows.part(CRCS + path, slice(position, position + 1))
        corrupt = UserError(f"{self.name(position)}: {path} is corrupt; {REMEDY}")
        try:
            table = texts.read(rows, values) if is_text else {}
        except UnicodeDecodeError as error:
            raise corrupt from error
        if texts.check(values, table) != stated[0]:
            raise corrupt
        if not is_text:
            return values
        return np.array([table[number] for number in values.tolist()], object)

    @functools.cached_property
    def _frames(self):
        if not self._frames_path.exists():
            raise UserError(f"{self._frames_path}: missing; {REMEDY}")
        reader = array_record_module.ArrayRecordReader(
            str(self._frames_path), options=_READER, file_reader_buffer_size=_READER_BUFFER
        )
        expected = int(self._records[-1])
        if not reader.ok() or reader.num_records() != expected:
            raise UserError(f"{self._frames_path}: holds not {expected} sound records; {REMEDY}")
        return reader

    def _read(self, records: list[int]) -> list[bytes]:
        try:
            return self._frames.read(records)
        except (RuntimeError, IndexError) as error:
            self.__dict__.pop("_frames", None)  # one that met damage refuses sound records too
            if len(records) == 1:
                told = " ".join(str(error).split())
                raise UserError(
                    f"{self._frames_path}: record {records[0]}: corrupt ({told}); {REMEDY}"
                ) from error
            return [self._read([record])[0] for record in records]  # finds which one
