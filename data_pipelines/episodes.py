"""The episodes of all data sets of a run, numbered through, with a memory for what was read.

What fits first stays. Under a global shuffle every window is as likely as any other, so that
replacing the old by the new would gain no hit and cost a copy each time.
"""

import hashlib
import threading
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from data_pipelines import frames
from data_pipelines.data_set import DataSet, short_name
from data_pipelines.episode import Episode


class Kept:
    """Values by key, as long as there is room. Thread-safe."""

    def __init__(self, max_bytes: int):
        """Args: max_bytes: bound of what is kept; 0 keeps nothing."""
        self.nbytes = 0
        self.max_bytes = max_bytes
        self._values: dict[Hashable, Any] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Any:
        """The value kept, or None."""
        return self._values.get(key)

    def has_room(self, nbytes: int) -> bool:
        """Whether a value of this size would be kept."""
        return self.nbytes + nbytes <= self.max_bytes

    def offer(self, key: Hashable, value: Any) -> None:
        """Keeps `value` (it knows its nbytes) if there is room."""
        with self._lock:
            if self.has_room(value.nbytes) and key not in self._values:
                self._values[key] = value
                self.nbytes += value.nbytes


class Episodes:
    """The episodes of some data sets; as stored, and as decoded frames, they may stay in memory.

    Thread-safe. Two threads that miss the same episode at once both read it; neither waits.

    Attributes:
      data_sets: at least one, in the order of `dataset_id`.
      weights: of each in the mixture; see `data_pipelines.opening.shares`.
      begins: number of each one's first episode.
      name: for messages.
      fingerprint: hash of all data sets' and of their weights.
    """

    def __init__(
        self, data_sets: Sequence[DataSet], max_bytes: int, weights: Sequence[float] | None = None
    ):
        """Args: max_bytes: half for episodes, half for decoded frames. weights: 1 by default."""
        self.data_sets = tuple(data_sets)
        self.weights = tuple(weights) if weights else (1.0,) * len(data_sets)
        self._ends = np.cumsum([len(data_set) for data_set in data_sets])
        self.begins: Int[np.ndarray, " S"] = np.concatenate([[0], self._ends[:-1]])
        self.name = ", ".join(data_set.name for data_set in data_sets)
        told = " ".join(data_set.fingerprint for data_set in data_sets)
        if len(data_sets) > 1:
            told += f" {self.weights}"
        self.fingerprint = hashlib.sha256(told.encode()).hexdigest()
        self._episodes = Kept(max_bytes // 2)
        self._frames = Kept(max_bytes // 2)
        self._last = threading.local()

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def names(self) -> tuple[str, ...]:
        """Short names of the data sets, each once; a second of one name gets a number."""
        found: dict[str, None] = {}
        for number, data_set in enumerate(self.data_sets):
            name = short_name(data_set.name)
            found[name if name not in found else f"{name}-{number}"] = None
        return tuple(found)

    @property
    def nbytes(self) -> int:
        """What is kept now, bytes."""
        return self._episodes.nbytes + self._frames.nbytes

    @property
    def rates(self) -> dict[str, float]:
        """Steps a second of each data set, by name."""
        return {name: d.fps for name, d in zip(self.names, self.data_sets, strict=True)}

    def data_set_of(self, episodes: Int[np.ndarray, " E"]) -> Int[np.ndarray, " E"]:
        """Which data set each episode belongs to."""
        return np.searchsorted(self._ends, episodes, side="right")

    def episode(self, index: int) -> Episode:
        """Reads episode `index`, 0 <= index < len(self); its own index counts in its data set.

        Raises:
          UserError: it cannot be read or is not sound; names file and record.
        """
        if getattr(self._last, "index", None) == index:  # a window asks more than once
            return self._last.episode
        episode = self._episodes.get(index)
        if episode is None:
            number = int(np.searchsorted(self._ends, index, side="right"))
            episode = self.data_sets[number].episode(index - int(self.begins[number]))
            self._episodes.offer(index, episode)
        self._last.index, self._last.episode = index, episode
        return episode

    def read_frames(
        self,
        index: int,
        camera: str,
        start: int,
        out: UInt8[np.ndarray, "T H W 3"],
        placement: frames.Placement = frames.WHOLE,
    ) -> None:
        """A camera's frames from step `start` on, decoded into `out`, resized.

        Args:
          index: of the episode, which has `start` + T steps or more and this camera.
          camera, start: which frames.
          out: where they go.
          placement: how they come to its size.

        Raises:
          UserError: they cannot be; see `frames.read`.
        """
        if not self._frames.max_bytes:
            self._decode(index, camera, start, range(len(out)), out, placement)
            return
        keys = [(index, camera, start + i, out.shape[1:], placement) for i in range(len(out))]
        missing = []
        for i, key in enumerate(keys):
            pixels = self._frames.get(key)
            if pixels is None:
                missing.append(i)
            else:
                out[i] = pixels
        if not missing:
            return
        self._decode(index, camera, start, missing, out, placement)
        for i in missing:
            if not self._frames.has_room(out[i].nbytes):
                return
            self._frames.offer(keys[i], out[i].copy())

    def _decode(self, index: int, camera: str, start: int, wanted, out, placement) -> None:
        number = int(np.searchsorted(self._ends, index, side="right"))
        stored = self.data_sets[number].image_shapes[camera]
        frames.read(self.episode(index), camera, start, wanted, out, stored, placement)
