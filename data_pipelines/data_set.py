"""One data set: a source seen through a view, at a rate."""

import dataclasses
import hashlib
import pathlib
import re
from collections.abc import Mapping

import numpy as np
from jaxtyping import Int

from data_pipelines.episode import Episode, View
from data_pipelines.rates import resample, resampled_length
from data_pipelines.sources import checks
from data_pipelines.sources.packets import MAX_FPS
from data_pipelines.sources.recording import Source
from vidact.errors import UserError

_MOST_REPEATS = 100  # of a frame, where a faster rate is wanted than is stored


class DataSet:
    """Episodes by random access; reading is safe from several threads.

    Attributes:
      name: for messages.
      view: what is what in it.
      order: which columns of the view's action are given out, in this order; () for all.
      gripper: column of the action, as given out, that normalising leaves alone, or None.
      rate: steps a second as the view makes them of what is stored.
      fps: steps a second as given out.
      image_shapes: camera -> height and width of its stored frames, None where they vary.
      fingerprint: hash of what the data set says of itself, wherever it lies, of view and rate.
    """

    def __init__(self, source: Source, view: View, fps: float | None, order: tuple[int, ...] = ()):
        """Args: source, view, order: see above. fps: the wanted rate; None keeps its own.

        Raises:
          UserError: a feature or a column is missing, or nobody says its rate and none is given.
        """
        view.check(source)
        _check_columns(source, view, order)
        self.name, self.view, self.source, self.order = source.name, view, source, order
        kept = {column: place for place, column in enumerate(order)}
        self.gripper = view.gripper
        if order and view.gripper is not None:
            self.gripper = kept.get(view.gripper)
        stored = source.fps or view.fps
        rate = stored / view.every if stored else fps
        if rate is None:
            raise UserError(f"{source.name}: states no rate; set config.data.fps to its own")
        self.rate = checks.check_rate(rate, source.name)
        self.fps = float(fps or rate)
        most = min(MAX_FPS, _MOST_REPEATS * self.rate)
        if not 0 < self.fps <= most:
            raise UserError(
                f"config.data.fps={self.fps:g}: {source.name} has {self.rate:g} steps a second; "
                f"choose a rate up to {most:g}"
            )
        if self.fps != self.rate and view.deltas is None:
            raise UserError(
                f"{source.name}: has {self.rate} steps a second, config.data.fps={fps}: set that, "
                "or say in config.data.deltas which columns of the action are displacements"
            )
        self.image_shapes: Mapping[str, tuple[int | None, ...]] = {
            name: source.features[path].shape[:2] if path else (None, None)
            for name, path in view.cameras.items()
        }
        told = f"{source.fingerprint} {view.identity} {self.rate} {self.fps} {order}"
        self.fingerprint = hashlib.sha256(told.encode()).hexdigest()

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
        episode = resample(episode, self.rate, self.fps, self.view.deltas or ())
        if not self.order:
            return episode
        return dataclasses.replace(episode, actions=episode.actions[:, list(self.order)])

    def _length(self, steps: int) -> int:
        return resampled_length(self.view.length(steps), self.rate, self.fps)


def _check_columns(source: Source, view: View, order: tuple[int, ...]) -> None:
    """Raises: UserError: the action lacks a column that is named, or `order` has one twice."""
    width = view.width(source)
    gripper = () if view.gripper is None else (view.gripper,)
    for key, columns in (("deltas", view.deltas), ("gripper", gripper), ("action_order", order)):
        told = f"config.data.{key}={columns[0] if key == 'gripper' and columns else columns}"
        if any(not 0 <= column < width for column in columns or ()):
            raise UserError(
                f"{told}: the action of {source.name} has {width} columns, 0 to {width - 1}; name "
                "those alone"
            )
    if len(set(order)) < len(order):
        raise UserError(f"config.data.action_order={order}: names a column twice; name each once")


def short_name(name: str) -> str:
    """`DIR/bridge/1.0.0 split train` -> `bridge`: the last folder that is no version."""
    parts = pathlib.PurePath(name.split(" split ")[0]).parts
    return next((p for p in reversed(parts) if not re.fullmatch(r"[\d.]+", p)), name)
