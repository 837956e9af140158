"""What a LeRobot data set says of itself in meta/info.json."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from etils import epath

from data_pipelines.sources import checks, json_files
from data_pipelines.sources.recording import Feature
from vidact.errors import UserError

NAME = "meta/info.json"
TASK, TASK_INDEX = "task", "task_index"
VERSIONS = {
    "v2.0": (
        "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    ),
    "v3.0": (
        "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    ),
}
"""The published layouts: where numbers and videos lie."""
VERSIONS["v2.1"] = VERSIONS["v2.0"]  # it only keeps its statistics elsewhere
_NUMBERS = re.compile(r"float(16|32|64)|u?int(8|16|32|64)|bool")
_RANGE = re.compile(r"(\d{1,9}):(\d{1,9})")
_DEPTH = ("is_depth_map", "video.is_depth_map")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Info:
    """meta/info.json, checked.

    Attributes:
      folder: the data set's.
      version: a key of VERSIONS.
      fps: steps a second.
      episodes: how many there are in all splits.
      chunk: version 2 keeps so many episodes in a folder.
      features: LeRobot's name -> what it is; and "task", the text that task_index stands for.
      videos: names of those features that lie in video files.
      splits: name -> which episodes.
    """

    folder: epath.Path
    version: str
    fps: float
    episodes: int
    chunk: int
    features: Mapping[str, Feature]
    videos: frozenset[str]
    splits: Mapping[str, range]


def read(folder: epath.Path) -> Info:
    """Reads and checks meta/info.json.

    Raises:
      UserError: it is missing, damaged, of a version or layout that is not known, or states what
        cannot be.
    """
    path = folder / NAME
    (told,) = json_files.read(path)
    version = str(told.get("codebase_version"))
    if version not in VERSIONS:
        raise UserError(
            f"{path}: codebase_version {version!r}; readable are {', '.join(sorted(VERSIONS))}: "
            "convert the data set with LeRobot's own scripts"
        )
    features = json_files.table(told.get("features"), "features", path)
    specs = {key: json_files.table(spec, key, path) for key, spec in features.items()}
    videos = frozenset(key for key, spec in specs.items() if spec.get("dtype") == "video")
    for key, want in zip(("data_path", "video_path"), VERSIONS[version], strict=True):
        if (key == "data_path" or videos) and told.get(key) != want:
            raise UserError(f"{path}: {key} is {told.get(key)!r}; only {want!r} is read")
    episodes = json_files.whole(told, "total_episodes", path)
    return Info(
        folder=folder,
        version=version,
        fps=checks.check_rate(told.get("fps"), path),
        episodes=episodes,
        chunk=json_files.whole(told, "chunks_size", path),
        features=_features(specs, path),
        videos=videos,
        splits=_splits(told.get("splits"), episodes, path),
    )


def _features(specs: Mapping[str, Mapping], path: epath.Path) -> dict[str, Feature]:
    features = {key: _feature(key, spec, path) for key, spec in specs.items()}
    if TASK_INDEX in features:
        features[TASK] = Feature("text")
    return features


def _feature(key: str, spec: Mapping[str, Any], path: epath.Path) -> Feature:
    shape, dtype = spec.get("shape"), str(spec.get("dtype"))
    if dtype == "string":
        return Feature("text")
    if dtype not in ("image", "video") and not _NUMBERS.fullmatch(dtype):
        return Feature("other")
    if not isinstance(shape, list) or not all(isinstance(n, int) and n > 0 for n in shape):
        raise UserError(f"{path}: {key} has the shape {shape!r}; mend it")
    if dtype not in ("image", "video"):
        return Feature("array", tuple(shape))
    facts = [json_files.table(spec.get(name), name, path) for name in ("info", "video_info")]
    if any(fact.get(name) for fact in facts for name in _DEPTH) or len(shape) != 3:
        return Feature("other", tuple(shape))
    if "/" in key:
        raise UserError(f"{path}: {key} would be a path out of the data set; rename it")
    # Some state the channels first; the names of the axes are not always right.
    return Feature("image", tuple(shape if shape[2] <= 4 else [*shape[1:], shape[0]]))


def _splits(told: Any, episodes: int, path: epath.Path) -> dict[str, range]:
    """The stated ranges of episodes; a data set that states none is all for training."""
    texts = json_files.table(told, "splits", path) or {"train": f"0:{episodes}"}
    splits = {}
    for name, text in texts.items():
        match = _RANGE.fullmatch(str(text))
        bounds = range(int(match[1]), int(match[2])) if match else range(0)
        if not bounds or bounds.stop > episodes:
            raise UserError(
                f"{path}: split {name!r} is {text!r}, not a range within 0:{episodes}; mend it"
            )
        splits[name] = bounds
    return splits
