"""Windows to batches."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import grain
import ml_collections
import numpy as np
from jaxtyping import Int

from data_pipelines import augment
from data_pipelines import windows as windows_lib
from data_pipelines.bad_records import BadRecords
from data_pipelines.buffers import Buffers
from data_pipelines.episodes import Episodes
from data_pipelines.frames import Placement
from data_pipelines.order import Drawn
from data_pipelines.sidecars import Sidecar
from data_pipelines.windows import AllWindows, Windows
from vidact import tiles
from vidact.actions import Statistics, normalise
from vidact.batch import Batch
from vidact.errors import UserError

# From B instructions to ids [B, L] or embeddings [B, L, D], and the mask [B, L].
ReadText = Callable[[Sequence[str]], tuple[np.ndarray, np.ndarray]]


class Bucket(NamedTuple):
    """Batches of one shape: T frames of H x W pixels, B windows over all processes."""

    frames: int
    resolution: tuple[int, int]
    batch_size: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class WindowDataset:
    """The windows of one split as batches, by step or by index.

    Attributes:
      config: config.data.
      source: episodes.
      windows: which windows there are.
      bounds: first window of each data set and bucket, and their number at the end, ascending.
      statistics: by data set: 'action' and 'state', used for normalising.
      buckets: shapes of batches.
      order: step -> windows of this process.
      seed: of order and augmentation.
      read_text: from instructions to ids or embeddings, and their mask.
      bad: records that could not be read.
      sidecars: further fields, and each window's row there.
      augmented: whether batches by step are augmented.
      buffers: memory of batches' frames.
    """

    config: ml_collections.ConfigDict
    source: Episodes
    windows: AllWindows | Windows
    bounds: Int[np.ndarray, " parts"]
    statistics: Sequence[Mapping[str, Statistics]]
    buckets: Sequence[Bucket]
    order: grain.MapDataset
    seed: int
    read_text: ReadText
    bad: BadRecords
    sidecars: Sequence[tuple[Sidecar, Int[np.ndarray, " N"]]] = ()
    augmented: bool = False
    buffers: Buffers = dataclasses.field(default_factory=Buffers)

    def __len__(self) -> int:
        """Number of windows: one epoch."""
        return len(self.windows)

    @functools.cached_property
    def widths(self) -> dict[str, int]:
        """Columns of 'action' and 'state': the widest data set's."""
        return {
            name: max(len(found[name].mean) for found in self.statistics)
            for name in ("action", "state")
        }

    @property
    def placement(self) -> Placement:
        """How frames come to their size where nothing is augmented."""
        return Placement(self.config.fit, turned=self.config.turned)

    @functools.cached_property
    def robots(self) -> tuple[str, ...]:
        """Names of the robots, by embodiment_id."""
        return tuple(dict.fromkeys(data_set.view.robot for data_set in self.source.data_sets))

    # Read for every window, for which a ConfigDict is slow.
    @functools.cached_property
    def _history(self) -> int:
        return self.config.history

    @functools.cached_property
    def _tiles(self) -> tuple[int, int]:
        return tuple(self.config.tiles)

    def indices_at(self, step: int) -> Int[np.ndarray, " b"]:
        """This process's windows of batch `step`."""
        return self.order[step].indices

    def batch_at(self, step: int) -> Batch:
        """This process's block of batch `step`, loaded now."""
        return self._drawn(self.order[step])

    def whole_at(self, step: int) -> Batch:
        """Batch `step` of all processes, loaded now."""
        return self._drawn(self.order[step]._replace(block=slice(None)))

    def from_step(self, step: int = 0, stop: int | None = None) -> Iterator[Batch]:
        """Batches step, step + 1, ..., loaded ahead by config.threads threads.

        They are endless unless `stop` names the first that is not wanted any more. Nothing before
        `step` is read. At most config.threads batches are ready or being loaded.
        """
        options = grain.ReadOptions(
            num_threads=self.config.threads, prefetch_buffer_size=self.config.threads
        )
        return iter(self.order[step:stop].map(self._drawn).to_iter_dataset(options))

    def load(self, indices: Int[np.ndarray, " b"], bucket: int = 0) -> Batch:
        """The given windows, in the given order, as one batch that is not augmented.

        Args:
          indices: 0 <= index < len(self).
          bucket: which shape they get.

        Raises:
          UserError: an episode cannot be read; names file, record and step.
        """
        changes = [augment.Change(self.placement)] * len(indices)
        return self._load(indices, self.buckets[bucket], changes)

    def load_readable(
        self, numbers: Int[np.ndarray, " b"], bucket: int = 0
    ) -> tuple[Batch | None, Int[np.ndarray, " k"]]:
        """Those of the given windows that can be read, in order, without substitutes.

        Args:
          numbers: 0 <= number < len(self).
          bucket: which shape they get.

        Returns:
          The batch of k <= b windows that is not augmented, None where k = 0, and their numbers,
          int64. The records of the others are in `bad`; they count as no substitution.

        Raises:
          UserError: a record cannot be read and config.data.on_bad_record is "error".
        """
        shape, change = self.buckets[bucket], augment.Change(self.placement)
        arrays, texts, read = self._arrays(len(numbers), shape), [], []
        for number in numbers.tolist():
            try:
                texts.append(self._window(arrays, len(read), number, shape, change))
                read.append(number)
            except UserError as error:
                self.bad.note(error)
        found = np.array(read, np.int64)
        if not read:
            return None, found
        whole = {
            name: array if array is None else array[: len(read)] for name, array in arrays.items()
        }
        return self._finished(whole, texts, found), found

    def _drawn(self, drawn: Drawn) -> Batch:
        changes = [augment.Change(self.placement)] * len(drawn.indices)
        if self.augmented and not augment.is_none(self.config.augment):
            rows = range(*drawn.block.indices(len(drawn.whole)))
            places = [(self.seed, drawn.step, row) for row in rows]
            changes = [augment.draw(self.config.augment, self.placement, p) for p in places]
        return self._load(drawn.indices, self.buckets[drawn.bucket], changes)

    def _load(
        self,
        indices: Int[np.ndarray, " b"],
        bucket: Bucket,
        changes: Sequence[augment.Change],
    ) -> Batch:
        arrays = self._arrays(len(indices), bucket)
        texts, read = [], indices.copy()
        for row, change in enumerate(changes):
            read[row] = self._fill(arrays, row, int(indices[row]), bucket, change, texts)
        return self._finished(arrays, texts, read)

    def _finished(
        self, arrays: dict[str, Any], texts: Sequence[str], read: Int[np.ndarray, " b"]
    ) -> Batch:
        """The batch of rows that are filled; `read` says with which windows."""
        self._normalise(arrays)
        for sidecar, rows in self.sidecars:
            arrays |= sidecar.read(rows[read])
        text, text_mask = self.read_text(texts)
        return Batch(**arrays, text=text, text_mask=text_mask)

    def _arrays(self, count: int, bucket: Bucket) -> dict[str, Any]:
        frames = self.config.history + bucket.frames
        stored = any("latents" in sidecar.fields for sidecar, _ in self.sidecars)
        actions = (count, frames - 1, self.widths["action"])
        return {
            "video": None if stored else self.buffers.take((count, frames, *bucket.resolution, 3)),
            "actions": np.zeros(actions, np.float32),
            "action_mask": np.zeros(actions, bool),
            "frame_mask": np.empty((count, frames), bool),
            "state": np.zeros((count, self.widths["state"]), np.float32),
            "fps": np.empty(count, np.float32),
            "embodiment_id": np.empty(count, np.int32),
            "dataset_id": np.empty(count, np.int32),
        }

    def _fill(self, arrays, row: int, index: int, bucket: Bucket, change, texts: list[str]) -> int:
        """Puts a window, or what stands in for it, into a row; returns which one it was."""
        begin, end = self._part(index)
        wanted, attempt = index, 0
        while True:
            try:
                texts.append(self._window(arrays, row, index, bucket, change))
                return index
            except UserError as error:
                self.bad.note(error)
                index = self.bad.substitute(wanted, begin, end, attempt)
                attempt += 1

    def _window(self, arrays, row: int, index: int, bucket: Bucket, change) -> str:
        window = self.windows.at(np.array([index]))
        number, start = int(window.episodes[0]), int(window.starts[0])
        episode, first = self.source.episode(number), start - self._history
        frames = self._history + bucket.frames
        if arrays["video"] is not None:
            boxes = tiles.boxes(bucket.resolution, self._tiles)
            video = arrays["video"][row]
            windows_lib.fill_video(self.source, number, first, video, boxes, change.placement)
            augment.apply_colours(video, change)
        data_set = int(self.source.data_set_of(np.array([number]))[0])
        actions, mask = windows_lib.window_actions(episode, first, frames - 1)
        width = actions.shape[1]
        arrays["actions"][row, :, :width] = actions
        arrays["actions"][row, :, width:] = 0
        arrays["action_mask"][row] = False
        arrays["action_mask"][row, :, :width] = mask
        arrays["frame_mask"][row] = windows_lib.frame_mask(episode, first, frames)
        width = episode.states.shape[1]
        arrays["state"][row, :width] = episode.states[start]
        arrays["state"][row, width:] = 0
        arrays["dataset_id"][row] = data_set
        arrays["fps"][row] = self.source.data_sets[data_set].fps
        robot = self.source.data_sets[data_set].view.robot
        arrays["embodiment_id"][row] = self.robots.index(robot)
        return episode.instructions[start]

    def _normalise(self, arrays: dict[str, Any]) -> None:
        """Actions and states, in place; padding beyond a data set's own columns stays zero."""
        for data_set in np.unique(arrays["dataset_id"]).tolist():
            rows = arrays["dataset_id"] == data_set
            for name, key in (("action", "actions"), ("state", "state")):
                found = self.statistics[data_set][name]
                values = arrays[key][rows]
                own = values[..., : len(found.mean)]
                own[:] = normalise(own, found, self.config.normalisation)
                arrays[key][rows] = values

    def _part(self, index: int) -> tuple[int, int]:
        """First window, and the one after the last, of a window's data set and bucket."""
        part = int(np.searchsorted(self.bounds, index, side="right"))
        return int(self.bounds[part - 1]), int(self.bounds[part])
