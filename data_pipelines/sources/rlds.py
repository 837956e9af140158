"""RLDS data sets as TFDS writes them (Open X-Embodiment's form), without TensorFlow.

A step's features are named by paths: 'observation/image_0', 'action', 'language_instruction'.
"""

import dataclasses
import hashlib
from collections.abc import Mapping

import tensorflow_datasets as tfds
from etils import epath

from data_pipelines.sources.episode import Episode
from data_pipelines.sources.example import Example
from data_pipelines.sources.features import StepFeatures
from data_pipelines.sources.records import ArrayRecordShard, Records, TFRecordShard
from vidact.errors import UserError

_STEPS = "steps"
_SHARDS: dict[str, type[TFRecordShard] | type[ArrayRecordShard]] = {
    "tfrecord": TFRecordShard,
    "array_record": ArrayRecordShard,
}
_DEPTH = 3  # a root may be the version's folder, the data set's or the one above


@dataclasses.dataclass(frozen=True, kw_only=True)
class Keys:
    """Which of a step's features are read, as paths within the step.

    Attributes:
      cameras: at least one, each once.
      state: proprioception.
      action: the action.
      instruction: a text, or "" for data without one.
    """

    cameras: tuple[str, ...] = ("observation/image",)
    state: str = "observation/state"
    action: str = "action"
    instruction: str = "language_instruction"


class RLDS:
    """One split of an RLDS data set: a `Source`."""

    def __init__(self, folder: epath.Path, info: tfds.core.DatasetInfo, split: str, keys: Keys):
        """See `open_rlds`."""
        self.name = f"{folder} split {split}"
        self.fps = _fps(info)
        self.fingerprint = _fingerprint(folder)
        self._keys = keys
        self._records = _records(folder, info, split)
        step = StepFeatures(folder, info)
        self.image_shapes: Mapping[str, tuple[int | None, int | None]] = {
            key: step.image_shape(key) for key in keys.cameras
        }
        self._state_shape = step.array_shape(keys.state)
        self._action_shape = step.array_shape(keys.action)
        if keys.instruction:
            step.check_text(keys.instruction)

    def __len__(self) -> int:
        return len(self._records)

    def episode(self, index: int) -> Episode:
        """Reads and checks one episode; see `Source.episode`."""
        file, position = self._records.locate(index)
        example = Example(self._records.read(index), f"{file}: record {position}")
        cameras = self._cameras(example)
        steps = len(cameras[self._keys.cameras[0]])
        return Episode(
            index=index,
            name=example.where,
            cameras=cameras,
            states=example.numbers(f"{_STEPS}/{self._keys.state}", steps, self._state_shape),
            actions=example.numbers(f"{_STEPS}/{self._keys.action}", steps, self._action_shape),
            instructions=self._instructions(example, steps),
            metadata=example.metadata(),
        )

    def _cameras(self, example: Example) -> dict[str, list[bytes]]:
        cameras = {key: example.texts(f"{_STEPS}/{key}") for key in self._keys.cameras}
        first = self._keys.cameras[0]
        steps = len(cameras[first])
        if not steps:
            raise UserError(f"{example.where}: an episode without steps; remove it")
        for key, images in cameras.items():
            if len(images) != steps:
                raise UserError(
                    f"{example.where}: {key} has {len(images)} frames where {first} has {steps}; "
                    "mend or remove the episode"
                )
        return cameras

    def _instructions(self, example: Example, steps: int) -> list[str]:
        if not self._keys.instruction:
            return [""] * steps
        raw = example.texts(f"{_STEPS}/{self._keys.instruction}")
        if len(raw) != steps:
            raise UserError(
                f"{example.where}: {len(raw)} instructions for {steps} steps; write it again"
            )
        texts = {text: text.decode("utf-8", "replace") for text in set(raw)}
        return [texts[text] for text in raw]


def open_rlds(root: str, split: str = "train", keys: Keys | None = None) -> RLDS:
    """Opens an RLDS data set of ArrayRecord or TFRecord shards.

    Args:
      root: the version's folder (it holds features.json), or the data set's or the one above where
        only one version lies below; local, or what etils.epath reads.
      split: as dataset_info.json names it.
      keys: which features to read; the defaults are those that `vidact.demos` writes.

    Raises:
      UserError: no such folder, no or several data sets in it, no such split or key, no episode, a
        missing shard.
    """
    folder = find(root)
    try:
        info = tfds.builder_from_directory(folder).info
    except Exception as error:  # JSON and proto errors of many kinds: all mean a broken description
        raise UserError(
            f"{folder}: features.json or dataset_info.json cannot be read "
            f"({' '.join(str(error).split())[:200]}); download them again"
        ) from error
    return RLDS(folder, info, split, keys or Keys())


def find(root: str) -> epath.Path:
    """The one folder at or up to two levels below `root` that holds features.json.

    Raises:
      UserError: no such folder, or not exactly one.
    """
    folder = epath.Path(root)
    if not folder.is_dir():
        raise UserError(f"{root}: no such folder; set config.data.root to an RLDS data set")
    level = [folder]
    for _ in range(_DEPTH):
        found = [inner for inner in level if (inner / "features.json").exists()]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(str(inner) for inner in sorted(found))
            raise UserError(f"{root}: holds several data sets; choose one of {names}")
        # A hidden folder is a data set that is still being written.
        inner = [path for outer in level for path in outer.iterdir() if path.is_dir()]
        level = [path for path in inner if not path.name.startswith(".")]
    raise UserError(f"{root}: no features.json in it or below; give an RLDS data set's folder")


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


def _fingerprint(folder: epath.Path) -> str:
    """Hash of the description: features, and the sizes and numbers of episodes of all shards."""
    digest = hashlib.sha256()
    for name in ("features.json", "dataset_info.json"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def _fps(info: tfds.core.DatasetInfo) -> float | None:
    stated = (info.metadata or {}).get("fps")
    return None if stated is None else float(stated)
