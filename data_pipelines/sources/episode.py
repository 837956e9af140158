"""What every source of robot episodes gives."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Episode:
    """One episode of n >= 1 steps; step i holds frame i, state i and the action taken there.

    Attributes:
      index: its place in the source.
      name: file and record, for messages.
      cameras: key -> n frames as encoded files (JPEG or PNG), not decoded; at least one camera.
      states: proprioception, in the units of the data set; finite.
      actions: in the units of the data set; finite.
      instructions: n texts, usually all the same; "" where there is none.
      metadata: the episode's own facts, for reports; never seen by a model.
    """

    index: int
    name: str
    cameras: Mapping[str, Sequence[bytes]]
    states: Float[np.ndarray, "n S"]
    actions: Float[np.ndarray, "n A"]
    instructions: Sequence[str]
    metadata: Mapping[str, object] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.states)

    @property
    def nbytes(self) -> int:
        """Size in memory, bytes, up to Python's own overhead."""
        encoded = sum(sum(map(len, images)) for images in self.cameras.values())
        return encoded + self.states.nbytes + self.actions.nbytes


@runtime_checkable
class Source(Protocol):
    """Episodes by random access; reading is safe from several threads.

    Attributes:
      name: for messages, usually the folder.
      fps: frames a second if the data set says so.
      image_shapes: camera -> height and width of its stored frames, None where they vary.
      fingerprint: hash of what the data set says of itself, wherever it lies.
    """

    name: str
    fps: float | None
    image_shapes: Mapping[str, tuple[int | None, int | None]]
    fingerprint: str

    def __len__(self) -> int: ...

    def episode(self, index: int) -> Episode:
        """Reads episode `index`, 0 <= index < len(self).

        Raises:
          UserError: it cannot be read or is not sound; names file and record.
        """
        ...
