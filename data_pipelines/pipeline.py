"""Batches of windows through grain: batch k is a pure function of (seed, k).

Indices are shuffled globally, without a buffer, and anew each epoch; batch k holds positions
k * batch_size onwards of that endless order, and a process reads its own contiguous block of it.
Nothing depends on threads, on the number of processes or on where reading began.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

import grain
import ml_collections
import numpy as np
from jaxtyping import Int

from data_pipelines import statistics as statistics_lib
from data_pipelines import windows as windows_lib
from data_pipelines.sidecars import Sidecar
from data_pipelines.sources.cache import CachedSource
from data_pipelines.sources.episode import Episode
from data_pipelines.sources.rlds import Keys, open_rlds
from data_pipelines.windows import Windows
from vidact import tiles
from vidact.actions import Statistics, normalise
from vidact.batch import Batch
from vidact.errors import UserError
from vidact.text import tokenize

SPLITS = ("train", "held_out")
_MEGABYTE = 2**20
# From B instructions to ids [B, L] or embeddings [B, L, D], and the mask [B, L].
ReadText = Callable[[Sequence[str]], tuple[np.ndarray, np.ndarray]]


def open_source(config: ml_collections.ConfigDict) -> CachedSource:
    """Opens the data set that `config.data` names; config.cache_mb MB of it may stay in memory.

    Raises:
      UserError: it cannot be read (see `open_rlds`) or states another fps than config.fps.
    """
    keys = Keys(
        cameras=_cameras(config),
        state=config.state_key,
        action=config.action_key,
        instruction=config.instruction_key,
    )
    source = open_rlds(config.root, config.split, keys)
    if source.fps not in (None, config.fps):
        raise UserError(
            f"config.data.fps={config.fps}: {source.name} states {source.fps}; set that"
        )
    return CachedSource(source, int(config.cache_mb * _MEGABYTE))


@dataclasses.dataclass(frozen=True, kw_only=True)
class WindowDataset:
    """The windows of one split as batches, by step or by index.

    Attributes:
      config: config.data.
      source: episodes.
      windows: which windows there are.
      statistics: 'action' and 'state', used for normalising.
      seed: of the order.
      batch_size: B over all processes.
      read_text: from instructions to ids or embeddings, and their mask.
      sidecars: further fields, and each window's row there.
      process_index, process_count: which block of a batch this process loads.
    """

    config: ml_collections.ConfigDict
    source: CachedSource
    windows: Windows
    statistics: Mapping[str, Statistics]
    seed: int
    batch_size: int
    read_text: ReadText
    sidecars: Sequence[tuple[Sidecar, Int[np.ndarray, " N"]]] = ()
    process_index: int = 0
    process_count: int = 1

    def __len__(self) -> int:
        """Number of windows: one epoch."""
        return len(self.windows)

    def indices_at(self, step: int) -> Int[np.ndarray, " b"]:
        """This process's windows of batch `step`."""
        return self._order()[step]

    def batch_at(self, step: int) -> Batch:
        """This process's block of batch `step`, loaded now."""
        return self.load(self.indices_at(step))

    def from_step(self, step: int = 0) -> Iterator[Batch]:
        """Endless batches step, step + 1, ..., loaded ahead by config.threads threads.

        Nothing before `step` is read. At most config.threads batches are ready or being loaded.
        """
        options = grain.ReadOptions(
            num_threads=self.config.threads, prefetch_buffer_size=self.config.threads
        )
        return iter(self._order()[step:].map(self.load).to_iter_dataset(options))

    def load(self, indices: Int[np.ndarray, " b"]) -> Batch:
        """The given windows, in the given order, as one batch.

        Args:
          indices: 0 <= index < len(self).

        Raises:
          UserError: an episode cannot be read; names file, record and step.
        """
        config, count = self.config, len(indices)
        episodes = [self.source.episode(int(i)) for i in self.windows.episodes[indices]]
        starts = self.windows.starts[indices].tolist()
        stored = {}
        for sidecar, rows in self.sidecars:
            stored |= sidecar.read(rows[indices])
        video = None if "latents" in stored else self._video(episodes, starts)
        actions, action_mask = self._actions(episodes, starts)
        states = np.stack([e.states[s] for e, s in zip(episodes, starts, strict=True)])
        texts = [e.instructions[s] for e, s in zip(episodes, starts, strict=True)]
        text, text_mask = self.read_text(texts)
        return Batch(
            video=video,
            actions=actions,
            action_mask=action_mask,
            frame_mask=np.stack(
                [
                    windows_lib.frame_mask(e, s, config.frames)
                    for e, s in zip(episodes, starts, strict=True)
                ]
            ),
            state=normalise(states, self.statistics["state"], config.normalisation),
            text=text,
            text_mask=text_mask,
            fps=np.full(count, config.fps, np.float32),
            embodiment_id=np.zeros(count, np.int32),
            dataset_id=np.zeros(count, np.int32),
            **stored,
        )

    def _video(self, episodes: list[Episode], starts: list[int]) -> np.ndarray:
        height, width = self.config.resolution
        video = np.empty((len(episodes), self.config.frames, height, width, 3), np.uint8)
        boxes = tiles.boxes(self.config.resolution, self.config.tiles)
        for episode, start, out in zip(episodes, starts, video, strict=True):
            windows_lib.fill_video(self.source, episode, start, out, boxes)
        return video

    def _actions(self, episodes: list[Episode], starts: list[int]) -> tuple[np.ndarray, np.ndarray]:
        pairs = [
            windows_lib.window_actions(episode, start, self.config.frames - 1)
            for episode, start in zip(episodes, starts, strict=True)
        ]
        actions, masks = map(np.stack, zip(*pairs, strict=True))
        return normalise(actions, self.statistics["action"], self.config.normalisation), masks

    def _order(self) -> grain.MapDataset:
        """Step -> this process's window indices, int64 [batch_size / process_count]."""
        share = self.batch_size // self.process_count
        block = slice(self.process_index * share, (self.process_index + 1) * share)
        order = grain.MapDataset.range(len(self.windows)).seed(self.seed).shuffle().repeat()
        return order.batch(self.batch_size, drop_remainder=True).map(lambda batch: batch[block])


def make_dataset(
    config: ml_collections.ConfigDict,
    *,
    seed: int,
    batch_size: int,
    split: str = "train",
    statistics: Mapping[str, Statistics] | None = None,
    source: CachedSource | None = None,
    read_text: ReadText | None = None,
    sidecars: Sequence[Sidecar] = (),
    process_index: int = 0,
    process_count: int = 1,
) -> WindowDataset:
    """Opens `config.data` as batches of windows.

    Args:
      config: config.data.
      seed: of the order of windows; 0 <= seed < 2**32.
      batch_size: B over all processes; a multiple of process_count.
      split: one of SPLITS; held-out episodes are never in 'train' (see `windows.split_episodes`).
      statistics: 'action' and 'state'; by default those of the training episodes.
      source: from `open_source`, to share one cache between splits; opened here by default.
      read_text: by default word ids (`vidact.text`).
      sidecars: further fields; windows that one of them lacks are left out.
      process_index: which block of each batch to load.
      process_count: number of processes.

    Raises:
      UserError: the data set cannot be read, holds no window for this split, or the sizes in the
        configuration do not fit.
    """
    _check_sizes(config, batch_size, split, process_count)
    if source is None:
        source = open_source(config)
    train, held = windows_lib.split_episodes(len(source), config.held_out)
    episodes = train if split == "train" else held
    windows = windows_lib.enumerate_windows(episodes, windows_lib.lengths(source, episodes))
    if not len(windows):
        raise UserError(
            f"{source.name}: {len(episodes)} {split} episodes give no window of two or more "
            "steps; set config.data.held_out or give more episodes"
        )
    windows, rows = _with_rows(windows, sidecars, source.name, split)
    if statistics is None:
        statistics = statistics_lib.compute(source, train)
    return WindowDataset(
        config=config,
        source=source,
        windows=windows,
        statistics=statistics,
        seed=seed,
        batch_size=batch_size,
        read_text=read_text or words(config),
        sidecars=list(zip(sidecars, rows, strict=True)),
        process_index=process_index,
        process_count=process_count,
    )


def words(config: ml_collections.ConfigDict) -> ReadText:
    """The reader of a model that embeds words itself; `config` is config.data."""
    return functools.partial(tokenize, max_words=config.max_words, vocabulary=config.vocabulary)


def _with_rows(
    windows: Windows, sidecars: Sequence[Sidecar], name: str, split: str
) -> tuple[Windows, list[np.ndarray]]:
    """The windows that all sidecars have, and their rows in each."""
    found = [sidecar.rows(windows) for sidecar in sidecars]
    kept = np.flatnonzero(np.all([rows >= 0 for rows in found], axis=0)) if found else slice(None)
    windows = Windows(windows.episodes[kept], windows.starts[kept])
    if not len(windows):
        raise UserError(
            f"{name}: config.data.encoded or config.data.coarse holds no {split} window of it; "
            "write it for this data set and these config.data settings"
        )
    return windows, [rows[kept] for rows in found]


def _check_sizes(
    config: ml_collections.ConfigDict, batch_size: int, split: str, process_count: int
) -> None:
    if split not in SPLITS:
        raise UserError(f"split {split!r}: unknown; choose from {', '.join(SPLITS)}")
    if batch_size < 1 or batch_size % process_count:
        raise UserError(
            f"batch size {batch_size}: not a positive multiple of {process_count} processes; "
            "change config's batch size"
        )
    if config.frames < 2:
        raise UserError(f"config.data.frames={config.frames}: a window needs at least 2 frames")
    tiles.check(_cameras(config), config.resolution, config.tiles)


def _cameras(config: ml_collections.ConfigDict) -> tuple[str, ...]:
    return (config.image_key, *config.further_image_keys)
