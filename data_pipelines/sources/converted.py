"""Data sets that `python -m data_pipelines.convert` has written.

converted.json     what is in them, and checksums
index.safetensors  steps of each episode
and shards (`data_pipelines.sources.converted_shard`).

Opening reads the first two; a shard is opened when one of its episodes is wanted.
"""

import json
import pathlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Any, get_args

import numpy as np
from etils import epath
from jaxtyping import Int

from data_pipelines.sources import checks, json_files
from data_pipelines.sources.converted_shard import (
    ConvertedShard,
    Layout,
    frames_file,
    steps_file,
)
from data_pipelines.sources.recording import Feature, Kind, Recording
from vidact import store
from vidact.errors import UserError

DESCRIPTION, PLAN, INDEX, REPORT = (
    "converted.json",
    "plan.json",
    "index.safetensors",
    "report.json",
)
VERSION = 1
MAX_OPEN = 64
_MAX_FRAMES_PER_RECORD = 2**10


class Opened:
    """The shards used last, at most `MAX_OPEN` of all data sets together. Thread-safe.

    Each holds a file and its index, of which a process may have but so many.
    """

    def __init__(self) -> None:
        self._shards: OrderedDict[Hashable, ConvertedShard] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], ConvertedShard]) -> ConvertedShard:
        """The shard of this key, made if it is not there."""
        with self._lock:
            shard = self._shards.get(key)
            if shard is None:
                shard = self._shards[key] = make()
                if len(self._shards) > MAX_OPEN:
                    self._shards.popitem(last=False)
            self._shards.move_to_end(key)
            return shard


_OPENED = Opened()


class SegmentFrames:
    """A camera's frames of one episode; what is read is the records that hold them."""

    nbytes = 0

    def __init__(self, source: "Converted", index: int, camera: str, length: int):
        self._source, self._index = source, index
        self._camera, self._length = camera, length

    def __len__(self) -> int:
        return self._length

    def read(self, steps: Sequence[int]) -> Sequence[memoryview]:
        """See `Frames.read`."""
        shard, position = self._source.find(self._index)
        return shard.frames(position, self._camera, steps)


class Converted:
    """A converted data set: a `Source`.

    Attributes:
      frames_per_record: k.
    """

    def __init__(self, folder: pathlib.Path, told: Mapping[str, Any], index: np.ndarray):
        """See `open_converted`."""
        self.name = f"{folder} split {told['split']}"
        self.fps: float | None = told["fps"] and float(told["fps"])
        self.features: Mapping[str, Feature] = read_features(told["features"])
        self.fingerprint: str = told["checksum"]
        self.lengths: Int[np.ndarray, " E"] | None = index
        counts = [shard["episodes"] for shard in told["shards"]]
        self.frames_per_record: int = told["frames_per_record"]
        self._begins = np.cumsum([0, *counts])
        self._lengths = index
        self._layout = Layout(folder, len(counts), self.features, self.frames_per_record)

    @property
    def files(self) -> Sequence[epath.Path]:
        """See `Source`."""
        total = self._layout.total
        names = [name(i, total) for name in (steps_file, frames_file) for i in range(total)]
        return [epath.Path(self._layout.folder / name) for name in (DESCRIPTION, INDEX, *names)]

    def __len__(self) -> int:
        return len(self._lengths)

    def recording(self, index: int, paths: Collection[str]) -> Recording:
        """Reads one episode's numbers and texts; frames wait. See `Source.recording`."""
        checks.check_known(self.features, paths, self.name)
        shard, position = self.find(index)
        steps = int(self._lengths[index])
        images = [path for path in paths if self.features[path].kind == "image"]
        features, facts = shard.read(position, [path for path in paths if path not in images])
        return Recording(
            index=index,
            name=shard.name(position),
            features=features,
            cameras={path: SegmentFrames(self, index, path, steps) for path in images},
            steps=steps,
            metadata=facts,
        )

    def find(self, index: int) -> tuple[ConvertedShard, int]:
        """The shard of an episode, 0 <= index < len(self), and its place there."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = int(np.searchsorted(self._begins, index, side="right")) - 1
        begin, end = self._begins[number : number + 2].tolist()
        key = (self._layout.folder, self.fingerprint, number)
        lengths = self._lengths[begin:end]
        shard = _OPENED.get(key, lambda: ConvertedShard(self._layout, number, lengths))
        return shard, index - begin


def is_converted(folder: epath.Path) -> bool:
    """Whether a folder is one that `data_pipelines.convert` has begun or written."""
    return (folder / DESCRIPTION).exists() or (folder / PLAN).exists()


def open_converted(root: str, split: str = "train") -> Converted:
    """Opens what `python -m data_pipelines.convert` has written.

    Args:
      root: its folder.
      split: the one that was converted.

    Raises:
      UserError: no such folder, a conversion that has not ended, damage, or another split.
    """
    folder = pathlib.Path(root)
    told = _description(folder)
    if told["split"] != split:
        raise UserError(
            f"{folder}: holds split {told['split']!r}; set config.data.split to it or convert "
            f"{split!r} to another folder"
        )
    lengths = _lengths(folder)
    counted = sum(shard["episodes"] for shard in told["shards"])
    k = told["frames_per_record"]
    if len(lengths) != counted or lengths.min(initial=1) < 1 or k > _MAX_FRAMES_PER_RECORD:
        raise UserError(f"{folder / INDEX}: does not fit {DESCRIPTION}; convert the data set again")
    if not counted:
        raise UserError(f"{folder}: holds no episode; see {REPORT} there")
    return Converted(folder, told, lengths)


def write_features(features: Mapping[str, Feature]) -> dict[str, dict[str, Any]]:
    """Features as JSON has them."""
    return {path: {"kind": f.kind, "shape": list(f.shape)} for path, f in features.items()}


def read_features(told: Mapping[str, Mapping[str, Any]]) -> dict[str, Feature]:
    """The inverse of `write_features`.

    Raises:
      ValueError, KeyError, TypeError, AttributeError: it is something else.
    """
    for path, stated in told.items():
        sizes = [size for size in stated["shape"] if size is not None]
        if stated["kind"] not in get_args(Kind) or not all(isinstance(n, int) for n in sizes):
            raise ValueError(f"features: {path} is {stated}")
    return {path: Feature(f["kind"], tuple(f["shape"])) for path, f in told.items()}


def _lengths(folder: pathlib.Path) -> Int[np.ndarray, " E"]:
    path = folder / INDEX
    with store.reader(path) as reader:
        if len(reader.shapes.get("lengths", ())) != 1 or not reader.dtypes["lengths"].startswith(
            "I"
        ):
            raise UserError(f"{path}: does not fit {DESCRIPTION}; convert the data set again")
        return reader.get("lengths")


def _description(folder: pathlib.Path) -> dict[str, Any]:
    path = folder / DESCRIPTION
    if not path.is_file() and (folder / PLAN).is_file():
        raise UserError(
            f"{folder}: its conversion has not come to its end; run python -m "
            "data_pipelines.convert again, it goes on where it stopped"
        )
    try:
        told = json.loads(path.read_text())
        if told["version"] != VERSION:
            raise UserError(f"{path}: of another version of vidact; convert the data set again")
        read_features(told["features"])
        complete = {"split", "fps", "checksum", "shards", "frames_per_record"} <= told.keys()
        if complete:
            _check(told, path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        told_why = " ".join(str(error).split())
        raise UserError(
            f"{path}: cannot be read ({told_why}); convert the data set with python -m "
            "data_pipelines.convert"
        ) from error
    if not complete:
        raise UserError(f"{path}: is not complete; convert the data set again")
    return told


def _check(told: Mapping[str, Any], path: pathlib.Path) -> None:
    """Types and ranges of what opening needs."""
    if not isinstance(told["checksum"], str) or not isinstance(told["shards"], list):
        raise ValueError("checksum is no text or shards no list")
    json_files.whole(told, "frames_per_record", path)
    for shard in told["shards"]:
        json_files.whole(shard, "episodes", f"{path}: shards", 0)
    if told["fps"] is not None:
        checks.check_rate(told["fps"], path)
