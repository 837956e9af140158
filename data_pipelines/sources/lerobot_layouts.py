"""Where the episodes of a LeRobot data set lie: a file each (version 2) or many a file (3)."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from etils import epath
from jaxtyping import Int

from data_pipelines.sources import json_files, parquet
from data_pipelines.sources.lerobot_info import TASK, TASK_INDEX, Info
from data_pipelines.sources.packets import MAX_FRAMES
from data_pipelines.sources.parquet import Table
from vidact.errors import UserError

_EPISODE, _LENGTH = "episode_index", "length"
_CHUNK, _FILE = "chunk_index", "file_index"
_FROM, _TO = "from_timestamp", "to_timestamp"


@runtime_checkable
class Layout(Protocol):
    """Where things lie.

    Attributes:
      lengths: number of steps of each episode.
      tasks: task_index -> text.
      files: the description, beside meta/info.json.
    """

    lengths: Int[np.ndarray, " E"]
    tasks: Mapping[int, str]
    files: Sequence[epath.Path]

    def data(self, episode: int) -> epath.Path:
        """The file of an episode's numbers."""
        ...

    def video(self, episode: int, key: str) -> tuple[epath.Path, float]:
        """The file of an episode's video, and where in it the episode begins, in seconds."""
        ...


class FileEach:
    """Version 2: a `Layout`."""

    def __init__(self, info: Info):
        """Raises: UserError: the lists of episodes or tasks are missing, damaged or incomplete."""
        self._info = info
        meta = info.folder / "meta"
        self.files: Sequence[epath.Path] = (meta / "episodes.jsonl", meta / "tasks.jsonl")
        told = json_files.read(self.files[0], lines=True)
        rows = [
            [json_files.whole(row, key, self.files[0], 0) for key in (_EPISODE, _LENGTH)]
            for row in told
        ]
        numbers, lengths = np.array(rows, np.int64).reshape(-1, 2).T
        self.lengths = lengths[_order(self.files[0], info, numbers, lengths)]
        tasks = json_files.read(self.files[1], lines=True)
        self.tasks: Mapping[int, str] = dict(_task(self.files[1], row) for row in tasks)

    def data(self, episode: int) -> epath.Path:
        """See `Layout.data`."""
        return self._file("data", episode, "parquet")

    def video(self, episode: int, key: str) -> tuple[epath.Path, float]:
        """See `Layout.video`."""
        return self._file("videos", episode, "mp4", key), 0.0

    def _file(self, kind: str, episode: int, suffix: str, *within: str) -> epath.Path:
        chunk = self._info.folder / kind / f"chunk-{episode // self._info.chunk:03d}"
        return chunk.joinpath(*within, f"episode_{episode:06d}.{suffix}")


class ManyAFile:
    """Version 3: a `Layout`."""

    def __init__(self, info: Info):
        """Raises: UserError: the lists of episodes or tasks are missing, damaged or incomplete."""
        self._folder, self._fps = info.folder, info.fps
        meta = info.folder / "meta"
        self._episodes = sorted((meta / "episodes").glob("chunk-*/file-*.parquet"))
        self.files: Sequence[epath.Path] = (*self._episodes, meta / "tasks.parquet")
        if not self._episodes:
            raise UserError(f"{meta}/episodes: no list of episodes; download the data set again")
        self._columns = self._read(info)
        self.lengths = self._columns[_LENGTH]
        self.tasks: Mapping[int, str] = _tasks(self.files[-1])

    def data(self, episode: int) -> epath.Path:
        """See `Layout.data`."""
        return self._file("data", "data", episode, "parquet")

    def video(self, episode: int, key: str) -> tuple[epath.Path, float]:
        """See `Layout.video`.

        Raises:
          UserError: what is stated of the video is shorter than the episode.
        """
        name = f"videos/{key}"
        start, end = (float(self._columns[f"{name}/{end}"][episode]) for end in (_FROM, _TO))
        path = self._file(name, name, episode, "mp4")
        steps = int(self.lengths[episode])
        if not (start >= 0 and (end - start) * self._fps > steps - 0.5):
            raise UserError(
                f"{path}: episode {episode} is stated to last from {start:g} to {end:g} s, "
                f"too short for {steps} steps at {self._fps:g} fps; mend meta/episodes"
            )
        return path, start

    def _file(self, kind: str, folder: str, episode: int, suffix: str) -> epath.Path:
        chunk, file = (int(self._columns[f"{kind}/{name}"][episode]) for name in (_CHUNK, _FILE))
        return self._folder / folder / f"chunk-{chunk:03d}" / f"file-{file:03d}.{suffix}"

    def _read(self, info: Info) -> dict[str, np.ndarray]:
        """The columns of all lists of episodes together, in order of episodes."""
        kinds = ["data", *(f"videos/{key}" for key in sorted(info.videos))]
        whole = [_EPISODE, _LENGTH, *(f"{k}/{name}" for k in kinds for name in (_CHUNK, _FILE))]
        times = [f"{kind}/{name}" for kind in kinds[1:] for name in (_FROM, _TO)]
        tables = [Table.read(path, [*whole, *times]) for path in self._episodes]
        columns = {
            name: np.concatenate([table.numbers(name, ()) for table in tables])
            for name in [*whole, *times]
        }
        where = self._episodes[0].parent
        for name in whole:
            if columns[name].dtype.kind not in "iu":
                raise UserError(f"{where}: {name} is not an integer everywhere; mend it")
        order = _order(where, info, columns[_EPISODE], columns[_LENGTH])
        return {name: column[order] for name, column in columns.items()}


def _task(where: epath.Path, row: Mapping[str, object]) -> tuple[int, str]:
    text = row.get(TASK)
    if not isinstance(text, str):
        raise UserError(f"{where}: {TASK} is {text!r}, not a text; mend it")
    return json_files.whole(row, TASK_INDEX, where, 0), text


def _tasks(path: epath.Path) -> dict[int, str]:
    # The texts are the index of a pandas table, which need not have a name.
    text = TASK if TASK in parquet.names(path) else "__index_level_0__"
    table = Table.read(path, [TASK_INDEX, text])
    return dict(zip(table.numbers(TASK_INDEX, ()).tolist(), table.texts(text), strict=True))


def _order(
    where: epath.Path,
    info: Info,
    numbers: Int[np.ndarray, " rows"],
    lengths: Int[np.ndarray, " rows"],
) -> Int[np.ndarray, " rows"]:
    """The rows of episodes 0, 1, 2 and so on."""
    order = np.argsort(numbers, kind="stable")
    if not np.array_equal(numbers[order], np.arange(info.episodes)):
        raise UserError(
            f"{where}: lists {len(numbers)} episodes, not 0 to {info.episodes - 1} as "
            "meta/info.json states; download the data set again"
        )
    if not ((lengths > 0) & (lengths <= MAX_FRAMES)).all():
        raise UserError(f"{where}: an episode without steps, or of too many; mend it")
    return order
