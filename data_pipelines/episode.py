"""An episode as training sees it, and the views that make it of a recording."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from data_pipelines.sources import checks
from data_pipelines.sources.recording import Feature, Frames, Recording, SelectedFrames, Source
from vidact.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Episode:
    """One episode of n steps; step i holds frame i, state i and the action taken there.

    Attributes:
      index: its place in the data set.
      name: file and record, for messages.
      cameras: name -> n frames, or None where a data set lacks a camera that others have, and
        where only numbers were read.
      states: proprioception, in the units of the data set; finite; no column where it has none.
      actions: in the units of the data set; finite; no column for a video without actions.
      instructions: n texts, usually all the same; "" where there is none.
      metadata: the episode's own facts, for reports; never seen by a model.
    """

    index: int
    name: str
    cameras: Mapping[str, Frames | None]
    states: Float[np.ndarray, "n S"]
    actions: Float[np.ndarray, "n A"]
    instructions: Sequence[str]
    metadata: Mapping[str, object] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.states)

    @property
    def nbytes(self) -> int:
        """Size in memory, bytes, up to Python's own overhead."""
        frames = sum(camera.nbytes for camera in self.cameras.values() if camera)
        return frames + self.states.nbytes + self.actions.nbytes

    def keep(self, steps: Int[np.ndarray, " k"]) -> "Episode":
        """The episode of some of its steps, ascending."""
        return dataclasses.replace(
            self,
            cameras={
                name: SelectedFrames(frames, steps) if frames else None
                for name, frames in self.cameras.items()
            },
            states=self.states[steps],
            actions=self.actions[steps],
            instructions=[self.instructions[step] for step in steps],
        )


@runtime_checkable
class View(Protocol):
    """Which of a data set's features are what, and what has to be done to them.

    Attributes:
      cameras: name -> path of the frames, "" where there are none.
      paths: all features that are read.
      deltas: columns of the action that are displacements per step: they add up over time. The
        others are targets. None where nobody says: the rate cannot be changed then.
      gripper: column of the action that normalising leaves alone, or None.
      robot: which embodiment, "" where nobody says.
      registered: name of its row in the registry, "" without one.
      fps: stored steps a second where the view knows it.
      every: one in so many stored steps is kept.
      identity: names the view for hashes: all of the above, which feature is what, and what is
        done to it. The same in every process.
    """

    @property
    def cameras(self) -> Mapping[str, str]: ...
    @property
    def paths(self) -> tuple[str, ...]: ...
    @property
    def deltas(self) -> tuple[int, ...] | None: ...
    @property
    def gripper(self) -> int | None: ...
    @property
    def robot(self) -> str: ...
    @property
    def registered(self) -> str: ...
    @property
    def fps(self) -> float | None: ...
    @property
    def every(self) -> int: ...
    @property
    def identity(self) -> str: ...

    def check(self, source: Source) -> None:
        """Raises: UserError: the source lacks a feature; lists those that it has."""
        ...

    def width(self, source: Source) -> int:
        """Number of columns of the action; the source has passed `check`."""
        ...

    def length(self, steps: int) -> int:
        """Number of steps of the episode that is made of a recording of so many."""
        ...

    def episode(self, recording: Recording) -> Episode:
        """Raises: UserError: the recording does not fit; names it and the feature."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Keys:
    """The view of a data set whose features are used as they are: a `View`.

    Attributes:
      cameras: paths of frames, at least one, each once; also their names.
      state: path of proprioception, "" for none.
      action: path of the action, "" for videos without actions.
      instruction: path of the text, "" for none.
      deltas, gripper: see `View`.
    """

    cameras: Mapping[str, str]
    state: str = "observation/state"
    action: str = "action"
    instruction: str = "language_instruction"
    deltas: tuple[int, ...] | None = None
    gripper: int | None = None
    robot: str = ""
    registered: str = ""
    fps: float | None = None
    every: int = 1

    @property
    def paths(self) -> tuple[str, ...]:
        """See `View`."""
        named = (*self.cameras.values(), self.state, self.action, self.instruction)
        return tuple(dict.fromkeys(filter(None, named)))

    @property
    def identity(self) -> str:
        """See `View`."""
        roles = (tuple(self.cameras.items()), self.state, self.action, self.instruction)
        return repr((*roles, self.deltas, self.gripper))

    def check(self, source: Source) -> None:
        """See `View`."""
        for path in self.cameras.values():
            find(source, path, "image")
        for path in filter(None, (self.state, self.action)):
            if None in find(source, path, "array").shape:
                raise UserError(
                    f"{source.name}: {path} has not the same columns in all episodes; set the key "
                    "to another, or take out those that differ"
                )
        if self.instruction:
            find(source, self.instruction, "text")

    def width(self, source: Source) -> int:
        """See `View`."""
        shape = source.features[self.action].shape if self.action else (0,)
        return math.prod(size or 0 for size in shape)

    def length(self, steps: int) -> int:
        """See `View`."""
        return steps

    def episode(self, recording: Recording) -> Episode:
        """See `View`; each step's numbers are made flat."""
        return Episode(
            index=recording.index,
            name=recording.name,
            cameras={name: recording.cameras.get(path) for name, path in self.cameras.items()},
            states=columns(recording, self.state),
            actions=columns(recording, self.action),
            instructions=texts(recording, self.instruction),
            metadata=recording.metadata,
        )


def keys(
    *cameras: str,
    state: str = "observation/state",
    action: str = "action",
    instruction: str = "language_instruction",
) -> Keys:
    """Keys whose cameras bear their paths' names; by default those that `vidact.demos` writes."""
    return Keys(
        cameras={path: path for path in cameras or ("observation/image",)},
        state=state,
        action=action,
        instruction=instruction,
    )


def find(source: Source, path: str, kind: str) -> Feature:
    """The feature of a source at `path`.

    Raises:
      UserError: there is none, or it is of another kind; lists those that would do.
    """
    feature = source.features.get(path)
    if feature is not None and feature.kind == kind:
        return feature
    fits = [name for name, other in source.features.items() if other.kind == kind]
    found = f"no {path} in a step" if feature is None else f"{path} is no {kind}"
    raise UserError(
        f"{source.name}: {found}; set the key in config.data to one of its {kind} keys: "
        f"{', '.join(fits) or 'none'}"
    )


def columns(recording: Recording, path: str) -> Float[np.ndarray, "n D"]:
    """The numbers at `path`, each step's made flat; no column for "".

    Raises:
      UserError: one is beyond float32's range.
    """
    if not path:
        return np.zeros((recording.steps, 0), np.float32)
    values = recording.features[path]
    flat = values.reshape(len(values), math.prod(values.shape[1:]))
    return checks.as_float32(flat, f"{recording.name}: {path}")


def texts(recording: Recording, path: str) -> list[str]:
    """The texts at `path`, decoded; empty ones for ""."""
    if not path:
        return [""] * recording.steps
    raw = recording.features[path].tolist()
    read = {t: t.decode("utf-8", "replace") if isinstance(t, bytes) else t for t in set(raw)}
    return [read[text] for text in raw]
