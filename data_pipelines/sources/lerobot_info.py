"""What a LeRobot data set says of itself in meta/info.json."""

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from etils import epath

from data_pipelines.sources.packets import MAX_FPS
from data_pipelines.sources.recording import Feature
from vidact.errors import UserError

NAME = "meta/info.json"
TASK, TASK_INDEX = "task", "task_index"
MAX_BYTES = 2**28
"""Largest description that is read: a file of JSON."""
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
    (told,) = read_json(path)
    version = told.get("codebase_version")
    if version not in VERSIONS:
        raise UserError(
            f"{path}: codebase_version {version!r}; readable are {', '.join(sorted(VERSIONS))}: "
            "convert the data set with LeRobot's own scripts"
        )
    features = _table(told.get("features"), "features", path)
    specs = {key: _table(spec, key, path) for key, spec in features.items()}
    videos = frozenset(key for key, spec in specs.items() if spec.get("dtype") == "video")
    for key, want in zip(("data_path", "video_path"), VERSIONS[version], strict=True):
        if (key == "data_path" or videos) and told.get(key) != want:
            raise UserError(f"{path}: {key} is {told.get(key)!r}; only {want!r} is read")
    episodes = whole(told, "total_episodes", path)
    return Info(
        folder=folder,
        version=version,
        fps=_fps(told, path),
        episodes=episodes,
        chunk=whole(told, "chunks_size", path),
        features=_features(specs, path),
        videos=videos,
        splits=_splits(told.get("splits"), episodes, path),
    )


def read_json(path: epath.Path, lines: bool = False) -> list[dict[str, Any]]:
    """The JSON object of a file, or one of each of its lines.

    Raises:
      UserError: missing, too large or not such a file; names the line.
    """
    if not path.exists():
        raise UserError(f"{path}: missing; download the data set again")
    if path.stat().length > MAX_BYTES:
        raise UserError(f"{path}: larger than {MAX_BYTES} bytes, which no description is")
    found, number = [], 0
    try:
        text = path.read_text()
        for number, part in enumerate(text.splitlines() if lines else [text]):  # noqa: B007
            if part.strip() or not lines:
                found.append(_object(part))
    except (ValueError, RecursionError) as error:
        where = f"{path}: line {number + 1}" if lines else f"{path}"
        raise UserError(f"{where}: {error}; download the file again") from error
    return found


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return value


def whole(told: Mapping[str, Any], key: str, where: object, least: int = 1) -> int:
    """An integer of `least` to 2**31 - 1.

    Raises:
      UserError: it is missing or something else.
    """
    value = told.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**31:
        raise UserError(f"{where}: {key} is {value!r}, not an integer from {least} on; mend it")
    return value


def _table(value: Any, key: str, path: epath.Path) -> dict[str, Any]:
    """A JSON object, empty where there is none."""
    if not isinstance(value, dict | None):
        raise UserError(f"{path}: {key} is no table; download the file again")
    return value or {}


def _fps(told: Mapping[str, Any], path: epath.Path) -> float:
    value = told.get("fps")
    if not isinstance(value, int | float) or not math.isfinite(value) or not 0 < value <= MAX_FPS:
        raise UserError(f"{path}: fps is {value!r}, not a rate up to {MAX_FPS:g}; mend it")
    return float(value)


def _features(specs: Mapping[str, Mapping], path: epath.Path) -> dict[str, Feature]:
    features = {key: _feature(key, spec, path) for key, spec in specs.items()}
    if TASK_INDEX in features:
        features[TASK] = Feature("text")
    return features


def _feature(key: str, spec: Mapping[str, Any], path: epath.Path) -> Feature:
    shape, dtype = spec.get("shape"), str(spec.get("dtype"))
    if not isinstance(shape, list) or not all(isinstance(n, int) and n > 0 for n in shape):
        raise UserError(f"{path}: {key} has the shape {shape!r}; mend it")
    if dtype in ("image", "video"):
        facts = [_table(spec.get(name), name, path) for name in ("info", "video_info")]
        if any(fact.get(name) for fact in facts for name in _DEPTH) or len(shape) != 3:
            return Feature("other", tuple(shape))
        if "/" in key:
            raise UserError(f"{path}: {key} would be a path out of the data set; rename it")
        # Some state the channels first; the names of the axes are not always right.
        return Feature("image", tuple(shape if shape[2] <= 4 else [*shape[1:], shape[0]]))
    if dtype == "string":
        return Feature("text")
    return Feature("array" if _NUMBERS.fullmatch(dtype) else "other", tuple(shape))


def _splits(told: Any, episodes: int, path: epath.Path) -> dict[str, range]:
    """The stated ranges of episodes; a data set that states none is all for training."""
    splits = {}
    for name, text in (_table(told, "splits", path) or {"train": f"0:{episodes}"}).items():
        match = _RANGE.fullmatch(str(text))
        bounds = range(int(match[1]), int(match[2])) if match else range(0)
        if not bounds or bounds.stop > episodes:
            raise UserError(
                f"{path}: split {name!r} is {text!r}, not a range within 0:{episodes}; mend it"
            )
        splits[name] = bounds
    return splits
