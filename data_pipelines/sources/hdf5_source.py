"""Demonstrations of robomimic's and LIBERO's HDF5 files as a source; see `hdf5.open_hdf5`."""

import functools
import hashlib
import itertools
import pathlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import h5py
import numpy as np
from etils import epath
from jaxtyping import Int, Shaped

from data_pipelines.sources import checks, hdf5_file, hdf5_tree
from data_pipelines.sources.hdf5_file import DemoFile
from data_pipelines.sources.recording import Feature, Picture, Recording
from vidact.errors import UserError

INSTRUCTION = "language_instruction"
_OPEN_FILES = 64


class HDF5Frames:
    """A camera's frames, read when they are asked for."""

    nbytes = 0

    def __init__(self, open_dataset: Callable[[], h5py.Dataset], steps: int, where: str):
        """Args: open_dataset: checked, of `steps` frames. where: for messages."""
        self._open, self._steps, self._where = open_dataset, steps, where

    def __len__(self) -> int:
        return self._steps

    def read(self, steps: Sequence[int]) -> Sequence[Picture]:
        """See `Frames.read`. What lies in one chunk is unpacked once."""
        dataset = self._open()
        rows = dataset.chunks[0] if dataset.chunks else 1
        frames: dict[int, Picture] = {}
        for _, chunk in itertools.groupby(sorted(set(steps)), lambda step: step // rows):
            wanted = list(chunk)
            first, where = wanted[0], f"{self._where} at step {wanted[0]}"
            pixels = hdf5_tree.read(dataset, first, wanted[-1] + 1, where)
            frames |= {step: pixels[step - first] for step in wanted}
        return [frames[step] for step in steps]


class _Demo(NamedTuple):
    file: DemoFile
    name: str
    steps: int

    @property
    def where(self) -> str:
        return f"{self.file.path}: {self.name}"


class HDF5:
    """One split of one or more files: a `Source`."""

    def __init__(self, name: str, files: Sequence[DemoFile]):
        """See `hdf5.open_hdf5`."""
        self.name = name
        self.fps = _fps(files)
        self.features: Mapping[str, Feature] = _features(files) | {INSTRUCTION: Feature("text")}
        told = " ".join(file.fingerprint for file in files)
        self.fingerprint = hashlib.sha256(told.encode()).hexdigest()
        self._demos = [_Demo(file, *item) for file in files for item in file.lengths.items()]
        self.lengths: Int[np.ndarray, " E"] | None = np.array([d.steps for d in self._demos])
        self.files = [epath.Path(file.path) for file in files]
        # A dataset that is in use keeps its file open beyond its place here.
        self._file = functools.lru_cache(_OPEN_FILES)(hdf5_tree.open_file)

    def __len__(self) -> int:
        return len(self._demos)

    def recording(self, index: int, paths: Collection[str]) -> Recording:
        """See `Source.recording`."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        demo = self._demos[index]
        kinds = {path: self._feature(demo, path).kind for path in paths}
        cameras = [path for path, kind in kinds.items() if kind == "image"]
        metadata = {"file": pathlib.Path(demo.file.path).name, "demo": demo.name}
        if demo.file.convention:
            metadata["image_convention"] = demo.file.convention
        return Recording(
            index=index,
            name=demo.where,
            features={path: self._rows(demo, path) for path in paths if path not in cameras},
            cameras={path: self._frames(demo, path) for path in cameras},
            steps=demo.steps,
            metadata=metadata,
        )

    def _feature(self, demo: _Demo, path: str) -> Feature:
        feature = self.features.get(path, Feature("other"))
        if feature.kind == "other":
            known = ", ".join(key for key, found in self.features.items() if found.kind != "other")
            raise UserError(
                f"{demo.where}: {path}: no feature that can be read in all files; those are {known}"
            )
        return feature

    def _rows(self, demo: _Demo, path: str) -> Shaped[np.ndarray, "n ..."]:
        if path == INSTRUCTION:
            return np.full(demo.steps, demo.file.instruction, object)
        where = f"{demo.where}: {path}"
        values = hdf5_tree.read(self._dataset(demo, path), 0, demo.steps, where)
        checks.check_finite(values, where)
        return values

    def _frames(self, demo: _Demo, path: str) -> HDF5Frames:
        open_dataset = functools.partial(self._dataset, demo, path)
        open_dataset()  # what is not sound is told now
        return HDF5Frames(open_dataset, demo.steps, f"{demo.where}: {path}")

    def _dataset(self, demo: _Demo, path: str) -> h5py.Dataset:
        """A feature's dataset, checked to be as long as the demonstration and as the others are."""
        where = f"{demo.where}: {path}"
        file = self._file(demo.file.path)
        dataset = hdf5_tree.find(file, f"data/{demo.name}/{path}", demo.file.path)
        if not isinstance(dataset, h5py.Dataset):
            raise UserError(f"{where}: is missing; mend or remove the demonstration")
        hdf5_tree.check_whole(dataset, where)
        found, wanted = hdf5_file.feature_of(dataset, where), self.features[path]
        if _common(found, wanted) != wanted:
            raise UserError(
                f"{where}: is {found.kind} {found.shape} where others are {wanted.kind} "
                f"{wanted.shape}; mend or remove the demonstration"
            )
        if len(dataset) != demo.steps:
            raise UserError(
                f"{where}: has {len(dataset)} rows where the demonstration has {demo.steps} steps; "
                "mend or remove it"
            )
        return dataset


def _fps(files: Sequence[DemoFile]) -> float | None:
    for file in files:
        if file.fps != files[0].fps:
            raise UserError(
                f"{file.path}: control_freq is {file.fps} where {files[0].path} has "
                f"{files[0].fps}; put them in folders of their own"
            )
    return files[0].fps


def _features(files: Sequence[DemoFile]) -> dict[str, Feature]:
    """What every file has."""
    shared = set.intersection(*(set(file.features) for file in files))
    return {
        path: functools.reduce(_common, [file.features[path] for file in files])
        for path in files[0].features
        if path in shared
    }


def _common(one: Feature, other: Feature) -> Feature:
    """What both are: sizes that differ become None."""
    if one.kind != other.kind or len(one.shape) != len(other.shape):
        return Feature("other")
    return Feature(one.kind, tuple(m if m == n else None for m, n in zip(one.shape, other.shape)))
