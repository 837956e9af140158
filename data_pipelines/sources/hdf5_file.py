"""What one HDF5 file in robomimic's form says: demonstrations, splits, instruction, rate, features.

robomimic's documentation ("Dataset Structure") and LIBERO's scripts/create_dataset.py define it:
data/demo_0, data/demo_1, ... with one dataset per feature; mask/NAME lists demonstrations.
"""

import collections
import dataclasses
import hashlib
import json
import math
import pathlib
import re
from collections.abc import Mapping

import h5py

from data_pipelines.sources import hdf5_tree
from data_pipelines.sources.recording import Feature
from vidact.errors import UserError

MAX_STEPS = 10**7
_DEMO = re.compile(r"demo_\d{1,9}")
_SPLITS = ("train", "valid")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemoFile:
    """One file and its demonstrations of one split; nothing of it stays open.

    Attributes:
      path: where it lies.
      lengths: number of steps by name of the demonstration, in order of their numbers.
      instruction: LIBERO's; "" where there is none.
      fps: control rate, None where it is not said.
      features: of the first demonstration, by path.
      convention: "opengl" where frames are stored from the bottom row up, "opencv" where from the
        top row down, "" where it is not said.
      fingerprint: hash of its name, size, attributes and lengths, wherever it lies.
    """

    path: str
    lengths: Mapping[str, int]
    instruction: str
    fps: float | None
    features: Mapping[str, Feature]
    convention: str
    fingerprint: str


def describe(path: str, split: str) -> DemoFile:
    """Reads what the file says of itself; no dataset of a demonstration is read.

    Raises:
      UserError: the file is damaged, of another form, has no such split or a demonstration without
        steps.
    """
    with hdf5_tree.open_file(path) as file:
        data = hdf5_tree.find(file, "data", path)
        if not isinstance(data, h5py.Group):
            raise UserError(f"{path}: no group 'data'; give a file in robomimic's form")
        names = _split(file, path, split, _demos(data, path))
        if not names:
            raise UserError(f"{path}: split {split!r} holds no demonstrations; leave the file out")
        lengths = {name: _steps(_demo(data, name, path), f"{path}: {name}") for name in names}
        first = hdf5_tree.datasets(_demo(data, names[0], path), f"{path}: {names[0]}")
        said = hdf5_tree.attributes(data, path)
        named = [pathlib.Path(path).name, pathlib.Path(path).stat().st_size]
        told = [*named, hdf5_tree.attributes(file, path), said, list(lengths.items())]
        return DemoFile(
            path=path,
            lengths=lengths,
            instruction=_instruction(said.get("problem_info"), path),
            fps=_fps(said.get("env_args"), path),
            features={key: feature_of(dataset, path) for key, dataset in first.items()},
            convention=str(said.get("macros_image_convention", "")),
            fingerprint=hashlib.sha256(json.dumps(told, default=str).encode()).hexdigest(),
        )


def feature_of(dataset: h5py.Dataset, where: str) -> Feature:
    """An image where steps are uint8 [H, W, 3], an array where they are numbers."""
    with hdf5_tree.reading(where):
        shape, dtype = dataset.shape, dataset.dtype
    if not shape or dtype.kind not in "biuf":
        return Feature("other")
    is_image = dtype == "uint8" and len(shape) == 4 and shape[3] == 3
    return Feature("image" if is_image else "array", tuple(shape[1:]))


def _demos(data: h5py.Group, path: str) -> list[str]:
    names = hdf5_tree.names(data, path)
    strange = [name for name in names if not _DEMO.fullmatch(name)]
    if strange:
        raise UserError(f"{path}: data/{strange[0]}: no demonstration's name; rename it as demo_7")
    return sorted(names, key=_number)


def _number(name: str) -> int:
    return int(name.removeprefix("demo_"))


def _split(file: h5py.File, path: str, split: str, demos: list[str]) -> list[str]:
    mask = hdf5_tree.find(file, "mask", path)
    lists = {name: mask and hdf5_tree.find(mask, name, f"{path}: mask") for name in _SPLITS}
    known = [name for name, found in lists.items() if found is not None]
    if split == "train" and not known:
        return demos
    if split not in known:
        choices = ", ".join(known or ["train"])
        raise UserError(f"{path}: no split {split!r}; config.data.split is one of: {choices}")
    names = _names(lists[split], len(demos), f"{path}: mask/{split}")
    wrong = collections.Counter(names) - collections.Counter(demos)
    if wrong:
        raise UserError(
            f"{path}: mask/{split}: {min(wrong)!r} is not in data, or twice; mend the mask"
        )
    return sorted(names, key=_number)


def _names(listed: h5py.Group | h5py.Dataset, most: int, where: str) -> list[str]:
    if not isinstance(listed, h5py.Dataset) or len(listed.shape or ()) != 1:
        raise UserError(f"{where}: not a list of names; mend the mask")
    if len(listed) > most:
        raise UserError(f"{where}: {len(listed)} names for {most} demonstrations; mend the mask")
    hdf5_tree.check_whole(listed, where)
    found = hdf5_tree.read(listed, 0, len(listed), where).tolist()
    return [name.decode() if isinstance(name, bytes) else str(name) for name in found]


def _demo(data: h5py.Group, name: str, path: str) -> h5py.Group:
    demo = hdf5_tree.find(data, name, path)
    if not isinstance(demo, h5py.Group):
        raise UserError(f"{path}: data/{name}: not a group of datasets; remove it")
    return demo


def _steps(demo: h5py.Group, where: str) -> int:
    stated = hdf5_tree.attribute(demo, "num_samples", where)
    if stated is None:
        actions = hdf5_tree.find(demo, "actions", where)
        if not isinstance(actions, h5py.Dataset) or not actions.shape:
            raise UserError(f"{where}: neither num_samples nor actions; write it again")
        stated = actions.shape[0]
    try:
        steps = int(stated)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{where}: num_samples is {stated!r}; write a whole number") from None
    if not 1 <= steps <= MAX_STEPS:
        raise UserError(f"{where}: {steps} steps, must be 1 to {MAX_STEPS}; remove it")
    return steps


def _instruction(stated: object, path: str) -> str:
    """LIBERO's, which some releases put in further quotes or write as a list of words."""
    if stated is None:
        return ""
    found = _json(stated, f"{path}: attribute problem_info").get("language_instruction", "")
    words = found if isinstance(found, list) else [found]
    if not all(isinstance(word, str) for word in words):
        raise UserError(f"{path}: problem_info: language_instruction is no text; mend it")
    return " ".join(" ".join(words).strip(' "').split())


def _fps(stated: object, path: str) -> float | None:
    if stated is None:
        return None
    settings = _json(stated, f"{path}: attribute env_args").get("env_kwargs")
    rate = settings.get("control_freq") if isinstance(settings, dict) else None
    if rate is None:
        return None
    if not isinstance(rate, int | float) or not 0 < rate < math.inf:
        raise UserError(f"{path}: env_args: control_freq is {rate!r}; write steps a second")
    return float(rate)


def _json(stated: object, where: str) -> dict:
    try:
        found = json.loads(stated)  # type: ignore[arg-type]
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{where}: no JSON ({error}); mend it") from error
    if not isinstance(found, dict):
        raise UserError(f"{where}: no JSON object; mend it")
    return found
