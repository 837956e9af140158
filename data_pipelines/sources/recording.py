"""What every source of robot episodes gives: recordings, as stored, by random access."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from etils import epath
from jaxtyping import Int, Shaped, UInt8

Kind = Literal["image", "array", "text", "other"]
Picture = bytes | memoryview | UInt8[np.ndarray, "_ _ 3"]


class Feature(NamedTuple):
    """What a data set says of one feature of a step.

    Attributes:
      kind: "other" is listed but cannot be read.
      shape: of one step; None where it varies. Height, width and channels of an image.
    """

    kind: Kind
    shape: tuple[int | None, ...] = ()


@runtime_checkable
class Frames(Protocol):
    """A camera's n frames of one recording.

    Attributes:
      nbytes: what keeping it in memory costs, beside what is read from it.
    """

    @property
    def nbytes(self) -> int: ...

    def __len__(self) -> int: ...

    def read(self, steps: Sequence[int]) -> Sequence[Picture]:
        """The frames at `steps` (0 <= step < n, ascending, repeats allowed), in that order.

        Each is an encoded file (JPEG or PNG) or RGB pixels.

        Raises:
          UserError: they cannot be read; names file and step.
        """
        ...


class StoredFrames:
    """Frames in memory as encoded files."""

    def __init__(self, files: Sequence[bytes]):
        self._files = files
        self.nbytes = sum(map(len, files))

    def __len__(self) -> int:
        return len(self._files)

    def read(self, steps: Sequence[int]) -> Sequence[Picture]:
        """See `Frames.read`."""
        return [self._files[step] for step in steps]


class SelectedFrames:
    """Some of a camera's frames: `steps` of `frames`, ascending."""

    def __init__(self, frames: Frames, steps: Int[np.ndarray, " n"]):
        self._frames, self._steps = frames, steps
        self.nbytes = frames.nbytes

    def __len__(self) -> int:
        return len(self._steps)

    def read(self, steps: Sequence[int]) -> Sequence[Picture]:
        """See `Frames.read`."""
        return self._frames.read(self._steps[np.asarray(steps, int)].tolist())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recording:
    """One episode of n >= 1 steps as its data set stores it.

    Attributes:
      index: its place in the source.
      name: file and record, for messages.
      features: path -> n rows in the units of the data set: numbers [n, ...], finite where they
        are floating-point, or an object array [n] of texts (bytes or str).
      cameras: path -> n frames.
      steps: n.
      metadata: the episode's own facts, for reports; never seen by a model.
    """

    index: int
    name: str
    features: Mapping[str, Shaped[np.ndarray, "n ..."]]
    cameras: Mapping[str, Frames]
    steps: int
    metadata: Mapping[str, object] = dataclasses.field(default_factory=dict)


@runtime_checkable
class Source(Protocol):
    """Recordings by random access; reading is safe from several threads.

    Attributes:
      name: for messages, usually the folder.
      fps: steps a second if the data set says so.
      features: path -> what it is, for all that the data set holds.
      fingerprint: hash of what the data set says of itself, wherever it lies.
      lengths: number of steps of each episode where that is known without reading them.
      files: those that are read, by which a change is noticed.
    """

    @property
    def name(self) -> str: ...
    @property
    def fps(self) -> float | None: ...
    @property
    def features(self) -> Mapping[str, Feature]: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def lengths(self) -> Int[np.ndarray, " E"] | None: ...
    @property
    def files(self) -> Sequence[epath.Path]: ...

    def __len__(self) -> int: ...

    def recording(self, index: int, paths: Collection[str]) -> Recording:
        """Reads recording `index`, 0 <= index < len(self).

        Args:
          index: which one.
          paths: the features and cameras wanted; no others are touched.

        Raises:
          UserError: it cannot be read or is not sound, or has no such feature; names file, record
            and feature.
        """
        ...
