"""A folder of videos, with or without the numbers of each step: an episode is

    NAME.mp4          the camera `image`; also .mov, .webm, .mkv, and in sub-folders
    NAME.wrist.mp4    a camera `wrist`, and so on, with as many frames
    NAME.csv          one row a frame, see `folder_table`; all episodes have one, or none has
    NAME.txt          the instruction, if no column `instruction` states it

Videos alone, of robots or of people, are episodes without actions. The rate is the videos' own, and
they must agree on it to within one per cent.
"""

import hashlib
from collections.abc import Collection, Mapping

import numpy as np
import tqdm
from etils import epath

from data_pipelines.sources import checks, folder_files, folder_table, lerobot, packets
from data_pipelines.sources.folder_files import CAMERA, Files
from data_pipelines.sources.folder_table import INSTRUCTION, Column
from data_pipelines.sources.packets import Header
from data_pipelines.sources.recording import Feature, Recording
from data_pipelines.sources.video import VideoFrames
from vidact.errors import UserError

_RATES_AGREE = 0.01
_MAX_TEXT = 2**16  # bytes


class Folder:
    """The videos of a folder: a `Source`."""

    def __init__(self, root: epath.Path, episodes: list[Files]):
        """See `open_folder`."""
        self.name = f"{root}"
        self._episodes = episodes
        self._columns = _columns(episodes)
        self._has_texts = any(episode.text for episode in episodes)
        self.features = _features(episodes[0], self._columns, self._has_texts)
        self.files = [path for episode in episodes for path in episode.all()]
        self.fingerprint = _fingerprint(root, self.files)
        headers = [
            _header(e) for e in tqdm.tqdm(episodes, "reading headers", unit="episode", delay=5)
        ]
        self.fps: float | None = headers[0].fps
        for episode, header in zip(episodes, headers, strict=True):
            if abs(header.fps - headers[0].fps) > _RATES_AGREE * headers[0].fps:
                raise UserError(
                    f"{episode.cameras[CAMERA]}: {header.fps:g} frames a second where "
                    f"{episodes[0].name} has {headers[0].fps:g}; give each rate a folder of its own"
                )
        self.lengths = np.array([header.frames for header in headers], np.int64)

    def __len__(self) -> int:
        return len(self._episodes)

    def recording(self, index: int, paths: Collection[str]) -> Recording:
        """Reads an episode's table and finds its videos; see `Source.recording`."""
        checks.check_known(self.features, paths, self.name)
        episode, steps = self._episodes[index], int(self.lengths[index])
        columns = [path for path in paths if path in self._columns]
        features: dict[str, np.ndarray] = {}
        if columns and episode.table:
            features = folder_table.read(episode.table, self._columns, columns)
            rows = len(features[columns[0]])
            if rows != steps:
                raise UserError(
                    f"{episode.table}: {rows} rows where the video has {steps} frames; mend one"
                )
        if INSTRUCTION in paths and self._has_texts:
            features[INSTRUCTION] = np.full(steps, _text(episode.text), object)
        cameras = {path: episode.cameras[path] for path in paths if path in episode.cameras}
        return Recording(
            index=index,
            name=str(episode.cameras[CAMERA]),
            features=features,
            cameras={key: VideoFrames(path, steps) for key, path in cameras.items()},
            steps=steps,
        )


def is_folder(folder: epath.Path) -> bool:
    """Whether a folder, or one below, holds videos, and is no LeRobot data set."""
    if not folder.is_dir() or lerobot.is_lerobot(folder):
        return False
    return any(map(folder_files.is_video, folder_files.walk(folder)))


def open_folder(root: str, split: str = "train") -> Folder:
    """Opens a folder of videos; reads the headers of all videos and tables.

    Args:
      root: local, or what etils.epath reads.
      split: only "train".

    Raises:
      UserError: no such folder or split, see `folder_files.find`, or videos or tables that are
        damaged or do not agree.
    """
    folder = epath.Path(root)
    if not folder.is_dir():
        raise UserError(f"{root}: no such folder; set config.data.root to a folder of videos")
    if split != "train":
        raise UserError(f"{root}: no split {split!r}; config.data.split is one of: train")
    return Folder(folder, folder_files.find(folder))


def _header(episode: Files) -> Header:
    """What the cameras' headers state."""
    headers = {camera: packets.probe(path) for camera, path in episode.cameras.items()}
    first = headers[CAMERA]
    for camera, header in headers.items():
        if header.frames != first.frames:
            raise UserError(
                f"{episode.cameras[camera]}: {header.frames} frames where "
                f"{episode.cameras[CAMERA].name} has {first.frames}; mend or remove the episode"
            )
    return first


def _columns(episodes: list[Files]) -> dict[str, Column]:
    """The columns of the tables, which all have the same."""
    found: dict[str, Column] = {}
    for episode in episodes:
        if episode.table is None:
            continue
        columns = folder_table.columns(episode.table)
        found = found or columns
        if columns != found:
            raise UserError(
                f"{episode.table}: other columns than {episodes[0].table}, or in another order; "
                "write it again"
            )
    return found


def _features(first: Files, columns: Mapping[str, Column], has_texts: bool) -> dict[str, Feature]:
    # Sizes may differ between videos, and how a phone was held is told by the frames alone.
    cameras = {camera: Feature("image", (None, None, 3)) for camera in first.cameras}
    twice = sorted(cameras.keys() & columns.keys())
    if twice:
        raise UserError(f"{first.table}: {twice[0]} is a camera too; rename the column")
    if has_texts and INSTRUCTION in columns:
        raise UserError(f"{first.table}: has a column {INSTRUCTION}; remove the .txt files")
    texts = {INSTRUCTION: Feature("text")} if has_texts else {}
    return {**cameras, **{name: column.feature for name, column in columns.items()}, **texts}


def _text(path: epath.Path | None) -> str:
    """The instruction on one line, "" where there is none."""
    if path is None:
        return ""
    if path.stat().length > _MAX_TEXT:
        raise UserError(f"{path}: more than {_MAX_TEXT} bytes; an instruction is a sentence")
    try:
        return " ".join(path.read_bytes().decode("utf-8-sig").split())
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: no text in UTF-8 ({error}); write it again") from error


def _fingerprint(root: epath.Path, files: list[epath.Path]) -> str:
    """Hash of the names and sizes of all files."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(root)} {path.stat().length}\n".encode())
    return digest.hexdigest()
