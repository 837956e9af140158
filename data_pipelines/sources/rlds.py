"""RLDS data sets as TFDS writes them (Open X-Embodiment's form), without TensorFlow.

A step's features are named by paths: 'observation/image_0', 'action', 'language_instruction'.
"""

import hashlib
from collections.abc import Collection, Mapping

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from data_pipelines.sources import checks
from data_pipelines.sources.example import Example
from data_pipelines.sources.features import STEPS, step_features
from data_pipelines.sources.recording import Feature, Recording, StoredFrames
from data_pipelines.sources.records import ArrayRecordShard, Records, TFRecordShard
from vidact.errors import UserError

_SHARDS: dict[str, type[TFRecordShard] | type[ArrayRecordShard]] = {
    "tfrecord": TFRecordShard,
    "array_record": ArrayRecordShard,
}
_DEPTH = 3  # a root may be the version's folder, the data set's or the one above


class RLDS:
    """One split of an RLDS data set: a `Source`."""

    lengths = None  # only the records tell

    def __init__(self, folder: epath.Path, info: tfds.core.DatasetInfo, split: str):
        """See `open_rlds`."""
        self.name = f"{folder} split {split}"
        self.fps = _fps(folder, info)
        self.fingerprint = _fingerprint(folder, split)
        self._records = _records(folder, info, split)
        self.files = self._records.paths
        found, self._arrays = step_features(folder, info)
        self.features: Mapping[str, Feature] = found

    def __len__(self) -> int:
        return len(self._records)

    def recording(self, index: int, paths: Collection[str]) -> Recording:
        """Reads and checks one episode; see `Source.recording`."""
        checks.check_known(self.features, paths, self.name)
        file, position = self._records.locate(index)
        example = Example(self._records.read(index), f"{file}: record {position}")
        cameras, features = {}, {}
        for path in paths:
            if self.features[path].kind == "image":
                cameras[path] = StoredFrames(example.texts(f"{STEPS}/{path}"))
            else:
                features[path] = self._feature(example, path)
        lengths = {path: len(rows) for path, rows in (cameras | features).items()}
        return Recording(
            index=index,
            name=example.where,
            features=features,
            cameras=cameras,
            steps=checks.check_lengths(lengths, example.where),
            metadata=example.metadata(),
        )

    def _feature(self, example: Example, path: str) -> np.ndarray:
        key = f"{STEPS}/{path}"
        if self.features[path].kind == "array":
            return example.numbers(key, self._arrays[path])
        return np.array(example.texts(key), object)


def open_rlds(root: str, split: str = "train") -> RLDS:
    """Opens an RLDS data set of ArrayRecord or TFRecord shards.

    Args:
      root: the version's folder (it holds features.json), or the data set's or the one above where
        only one version lies below; local, or what etils.epath reads.
      split: as dataset_info.json names it.

    Raises:
      UserError: no such folder, no or several data sets in it, no such split, no episode, a missing
        shard.
    """
    folder = find(root)
    try:
        info = tfds.builder_from_directory(folder).info
    except Exception as error:  # JSON and proto errors of many kinds: all mean a broken description
        raise UserError(
            f"{folder}: features.json or dataset_info.json cannot be read "
            f"({' '.join(str(error).split())[:200]}); download them again"
        ) from error
    return RLDS(folder, info, split)


def is_rlds(folder: epath.Path) -> bool:
    """Whether a folder, or one a level or two below, describes an RLDS data set."""
    return bool(_described(folder))


def find(root: str) -> epath.Path:
    """The one folder at or up to two levels below `root` that holds features.json.

    Raises:
      UserError: no such folder, or not exactly one.
    """
    folder = epath.Path(root)
    if not folder.is_dir():
        raise UserError(f"{root}: no such folder; set config.data.root to an RLDS data set")
    found = _described(folder)
    if not found:
        raise UserError(f"{root}: no features.json in it or below; give an RLDS data set's folder")
    if len(found) > 1:
        names = ", ".join(str(inner) for inner in sorted(found))
        raise UserError(f"{root}: holds several data sets; choose one of {names}")
    return found[0]


def _described(folder: epath.Path) -> list[epath.Path]:
    """The folders with features.json on the first level that has any."""
    level = [folder] if folder.is_dir() else []
    for _ in range(_DEPTH):
        found = [inner for inner in level if (inner / "features.json").exists()]
        if found:
            return found
        # A hidden folder is a data set that is still being written.
        inner = [path for outer in level for path in outer.iterdir() if path.is_dir()]
        level = [path for path in inner if not path.name.startswith(".")]
    return []


def _records(folder: epath.Path, info: tfds.core.DatasetInfo, split: str) -> Records:
    if split not in info.splits:
        known = ", ".join(info.splits) or "none"
        raise UserError(f"{folder}: no split {split!r}; config.data.split is one of: {known}")
    kind = info.file_format.value if info.file_format else "none"
    if kind not in _SHARDS:
        raise UserError(f"{folder}: shards of format {kind}; readable are {', '.join(_SHARDS)}")
    described = info.splits[split]
    if not described.num_examples:
        raise UserError(f"{folder}: split {split!r} holds no episodes; record or download some")
    # tfds joins the names with the folder given to it; only the names are taken.
    names = [epath.Path(path).name for path in described.filepaths]
    return Records([_SHARDS[kind](folder / name) for name in names], described.shard_lengths)


def _fingerprint(folder: epath.Path, split: str) -> str:
    """Hash of the description: features, and the sizes and numbers of episodes of all shards."""
    digest = hashlib.sha256(split.encode())
    for name in ("features.json", "dataset_info.json"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def _fps(folder: epath.Path, info: tfds.core.DatasetInfo) -> float | None:
    stated = (info.metadata or {}).get("fps")
    return None if stated is None else checks.check_rate(stated, folder / "metadata.json")
