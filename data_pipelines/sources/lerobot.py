"""LeRobot data sets, versions 2.0, 2.1 and 3.0, as they are published: JSON, Parquet and videos.

Feature paths are LeRobot's names: 'action', 'observation.state', 'observation.images.top'. 'task'
is the instruction of each step. Depth maps are not read.
"""

import hashlib
from collections.abc import Collection, Sequence
from typing import cast

import numpy as np
from etils import epath

from data_pipelines.sources import checks, lerobot_info
from data_pipelines.sources.lerobot_info import TASK, TASK_INDEX, Info
from data_pipelines.sources.lerobot_layouts import FileEach, Layout, ManyAFile
from data_pipelines.sources.packets import Span
from data_pipelines.sources.parquet import Table
from data_pipelines.sources.recording import Frames, Recording, StoredFrames
from data_pipelines.sources.video import VideoFrames
from vidact.errors import UserError

_EPISODE, _FRAME = "episode_index", "frame_index"


class LeRobot:
    """One split of a LeRobot data set: a `Source`."""

    def __init__(self, info: Info, layout: Layout, split: str):
        """See `open_lerobot`."""
        self.name = f"{info.folder} split {split}"
        self.fps: float | None = info.fps
        self.features = info.features
        self._description = (info.folder / lerobot_info.NAME, *layout.files)
        self.fingerprint = _fingerprint(info.folder, self._description, split)
        self._info, self._layout = info, layout
        if split not in info.splits:
            known = ", ".join(info.splits)
            raise UserError(
                f"{info.folder}: no split {split!r}; config.data.split is one of: {known}"
            )
        self._episodes = info.splits[split]
        self.lengths = layout.lengths[self._episodes.start : self._episodes.stop]

    def __len__(self) -> int:
        return len(self._episodes)

    @property
    def files(self) -> Sequence[epath.Path]:
        """The description and the files of numbers that are there, each once; see `Source`."""
        data = dict.fromkeys(self._layout.data(episode) for episode in self._episodes)
        return [*self._description, *(path for path in data if path.exists())]

    def recording(self, index: int, paths: Collection[str]) -> Recording:
        """Reads the numbers and finds the videos of one episode; see `Source.recording`."""
        checks.check_known(self.features, paths, self.name)
        episode, steps = self._episodes[index], int(self.lengths[index])
        cameras: dict[str, Frames] = {}
        features: dict[str, np.ndarray] = {}
        columns = [path for path in paths if path not in self._info.videos]
        if columns:
            table = self._table(episode, steps, columns)
            for path in columns:
                if self.features[path].kind == "image":
                    cameras[path] = StoredFrames(table.files(path))
                else:
                    features[path] = self._feature(table, path)
        for path in self._info.videos.intersection(paths):
            cameras[path] = self._video(episode, steps, path)
        return Recording(
            index=index,
            name=f"{self._layout.data(episode)}: episode {episode}",
            features=features,
            cameras=cameras,
            steps=steps,
            metadata={_EPISODE: episode},
        )

    def _table(self, episode: int, steps: int, columns: Collection[str]) -> Table:
        stored = {TASK_INDEX if column == TASK else column for column in columns}
        path = self._layout.data(episode)
        table = Table.read(path, [*sorted(stored), _FRAME], (_EPISODE, episode))
        if not np.array_equal(table.numbers(_FRAME, ()), np.arange(steps)):
            raise UserError(
                f"{table.where}: {len(table)} rows that are not frames 0 to {steps - 1}, which "
                "the list of episodes states; download the data set again"
            )
        return table

    def _feature(self, table: Table, path: str) -> np.ndarray:
        if path == TASK:
            return self._tasks(table)
        if self.features[path].kind == "text":
            return np.array(table.texts(path), object)
        values = table.numbers(path, cast(tuple[int, ...], self.features[path].shape))
        checks.check_finite(values, f"{table.where}: {path}")
        return values

    def _tasks(self, table: Table) -> np.ndarray:
        numbers = table.numbers(TASK_INDEX, ()).tolist()
        unknown = sorted(set(numbers) - self._layout.tasks.keys())
        if unknown:
            raise UserError(
                f"{table.where}: task_index {unknown[0]} is not among the tasks in meta; mend it"
            )
        return np.array([self._layout.tasks[number] for number in numbers], object)

    def _video(self, episode: int, steps: int, key: str) -> Frames:
        path, start = self._layout.video(episode, key)
        if not path.exists():
            raise UserError(
                f"{path}: missing, the video of episode {episode}; download the data set again"
            )
        return VideoFrames(path, steps, Span(start, self._info.fps))


def is_lerobot(folder: epath.Path) -> bool:
    """Whether a folder is a LeRobot data set."""
    return (folder / lerobot_info.NAME).exists()


def open_lerobot(root: str, split: str = "train") -> LeRobot:
    """Opens a LeRobot data set; reads its description only.

    Args:
      root: the folder that holds meta/info.json; local, or what etils.epath reads.
      split: as meta/info.json names it.

    Raises:
      UserError: no such folder, version or split, or the description is damaged or incomplete.
    """
    info = lerobot_info.read(epath.Path(root))
    layout: Layout = ManyAFile(info) if info.version == "v3.0" else FileEach(info)
    return LeRobot(info, layout, split)


def _fingerprint(folder: epath.Path, description: Sequence[epath.Path], split: str) -> str:
    """Hash of the description: features, splits, lengths, tasks, and where the episodes lie."""
    digest = hashlib.sha256(split.encode())
    for path in description:
        data = path.read_bytes()
        digest.update(f"{path.relative_to(folder)} {len(data)}\n".encode())
        digest.update(data)
    return digest.hexdigest()
