"""Keeps episodes and decoded frames in memory, up to a number of bytes.

What fits first stays. Under a global shuffle every window is as likely as any other, so that
replacing the old by the new would gain no hit and cost a copy each time.
"""

import threading
from collections.abc import Hashable
from typing import Any

import numpy as np
from jaxtyping import UInt8

from data_pipelines import frames
from data_pipelines.sources.episode import Episode, Source


class Kept:
    """Values by key, as long as there is room. Thread-safe."""

    def __init__(self, max_bytes: int):
        """Args: max_bytes: bound of what is kept; 0 keeps nothing."""
        self.nbytes = 0
        self._max_bytes = max_bytes
        self._values: dict[Hashable, Any] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Any:
        """The value kept, or None."""
        return self._values.get(key)

    def has_room(self, nbytes: int) -> bool:
        """Whether a value of this size would be kept."""
        return self.nbytes + nbytes <= self._max_bytes

    def offer(self, key: Hashable, value: Any) -> None:
        """Keeps `value` (it knows its nbytes) if there is room."""
        with self._lock:
            if self.has_room(value.nbytes) and key not in self._values:
                self._values[key] = value
                self.nbytes += value.nbytes


class CachedSource:
    """A source whose episodes, as stored, and decoded frames stay in memory while there is room.

    Thread-safe. Two threads that miss the same episode at once both read it; neither waits.
    """

    def __init__(self, source: Source, max_bytes: int):
        """Args: source: read on a miss. max_bytes: half for episodes, half for decoded frames."""
        self._source = source
        self._episodes = Kept(max_bytes // 2)
        self._frames = Kept(max_bytes // 2)
        self.name = source.name
        self.fps = source.fps
        self.image_shapes = source.image_shapes
        self.fingerprint = source.fingerprint

    def __len__(self) -> int:
        return len(self._source)

    @property
    def nbytes(self) -> int:
        """What is kept now, bytes."""
        return self._episodes.nbytes + self._frames.nbytes

    def episode(self, index: int) -> Episode:
        """As the source's."""
        episode = self._episodes.get(index)
        if episode is None:
            episode = self._source.episode(index)
            self._episodes.offer(index, episode)
        return episode

    def read_frame(
        self, episode: Episode, camera: str, step: int, out: UInt8[np.ndarray, "H W 3"]
    ) -> None:
        """A camera's frame at `step` of one of this source's episodes, decoded into `out`, resized.

        Raises:
          UserError: it cannot be; see `frames.read`.
        """
        key = (episode.index, camera, step, out.shape)
        pixels = self._frames.get(key)
        if pixels is not None:
            out[:] = pixels
            return
        frames.read(episode, camera, step, out, self.image_shapes[camera])
        if self._frames.has_room(out.nbytes):
            self._frames.offer(key, out.copy())
