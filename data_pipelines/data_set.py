"""One data set: a source seen through a view, at a rate."""

import hashlib
import pathlib
import re
from collections.abc import Mapping

import numpy as np
from jaxtyping import Int

from data_pipelines.episode import Episode, View
from data_pipelines.rates import resample, resampled_length
from data_pipelines.sources.recording import Source
from vidact.errors import UserError


class DataSet:
    """Episodes by random access; reading is safe from several threads.

    Attributes:
      name: for messages.
      view: what is what in it.
      fps: steps a second as given out.
      image_shapes: camera -> height and width of its stored frames, None where they vary.
      fingerprint: hash of what the data set says of itself, wherever it lies, of view and rate.
    """

    def __init__(self, source: Source, view: View, fps: float | None):
        """Args: source, view: which. fps: the wanted rate; None keeps the data set's own.

        Raises:
          UserError: a feature is missing, or nobody says the data set's rate and none is given.
        """
        view.check(source)
        self.name, self.view, self.source = source.name, view, source
        stored = source.fps or view.fps
        rate = stored / view.every if stored else fps
        if rate is None:
            raise UserError(f"{source.name}: states no rate; set config.data.fps to its own")
        self._rate = float(rate)
        self.fps = float(fps or rate)
        if self.fps != self._rate and view.deltas is None:
            raise UserError(
                f"{source.name}: has {self._rate} steps a second, config.data.fps={fps}: set that, "
                "or say in config.data.deltas which columns of the action are displacements"
            )
        self.image_shapes: Mapping[str, tuple[int | None, ...]] = {
            name: source.features[path].shape[:2] if path else (None, None)
            for name, path in view.cameras.items()
        }
        told = f"{source.fingerprint} {view.identity} {self._rate} {self.fps}"
        self.fingerprint = hashlib.sha256(told.encode()).hexdigest()

    @property
    def short_name(self) -> str:
        """`DIR/bridge/1.0.0 split train` -> `bridge`: the last folder that is no version."""
        parts = pathlib.PurePath(self.name.split(" split ")[0]).parts
        named = (part for part in reversed(parts) if not re.fullmatch(r"[\d.]+", part))
        return next(named, self.name)

    def __len__(self) -> int:
        return len(self.source)

    def episode(self, index: int) -> Episode:
        """Reads episode `index`, 0 <= index < len(self).

        Raises:
          UserError: it cannot be read or is not sound; names file and record.
        """
        return self._episode(index, self.view.paths)

    def numbers(self, index: int) -> Episode:
        """Episode `index` without cameras.

        Raises:
          UserError: as `episode`.
        """
        cameras = self.view.cameras.values()
        paths = tuple(path for path in self.view.paths if path not in cameras)
        return self._episode(index, paths or self.view.paths)

    def lengths(self) -> Int[np.ndarray, " E"] | None:
        """Number of steps of each episode, where the source knows without reading them."""
        known = self.source.lengths
        if known is None:
            return None
        return np.array([self._length(int(steps)) for steps in known], np.int64)

    def _episode(self, index: int, paths: tuple[str, ...]) -> Episode:
        episode = self.view.episode(self.source.recording(index, paths))
        return resample(episode, self._rate, self.fps, self.view.deltas or ())

    def _length(self, steps: int) -> int:
        return resampled_length(self.view.length(steps), self._rate, self.fps)
