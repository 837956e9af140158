"""Which windows there are, which episodes are held out, and one window's place in a batch.

A window that starts at step s takes frames s .. s + T - 1 and actions s .. s + T - 2: action i
leads from frame i to frame i + 1. Every start from which at least one action leads to a recorded
frame counts: s = 0 .. n - 2. Beyond an episode's end the last frame is repeated (frame_mask False)
and the action is neutral, zero before normalising (action_mask False): padding carries no loss.
An episode's last action leads to no frame, and RLDS leaves its meaning open: it is padding too.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Sequence

import numpy as np
import tqdm
from jaxtyping import Bool, Float, Int, UInt8

from data_pipelines.sources.cache import CachedSource
from data_pipelines.sources.episode import Episode, Source
from vidact.errors import UserError
from vidact.tiles import Box


@dataclasses.dataclass(frozen=True)
class Windows:
    """All windows of some episodes, in order of episode and start.

    Attributes:
      episodes: window -> index of the episode in its source.
      starts: window -> step of its first frame.
    """

    episodes: Int[np.ndarray, " N"]
    starts: Int[np.ndarray, " N"]

    def __len__(self) -> int:
        return len(self.starts)


def enumerate_windows(episodes: Int[np.ndarray, " E"], lengths: Int[np.ndarray, " E"]) -> Windows:
    """Every window of the given episodes.

    Args:
      episodes: indices in the source.
      lengths: number of steps of each; an episode of one step has no window.
    """
    counts = np.maximum(lengths - 1, 0)
    ends = np.cumsum(counts)
    starts = np.arange(counts.sum()) - np.repeat(ends - counts, counts)
    return Windows(np.repeat(episodes, counts), starts)


def split_episodes(
    count: int, held_out: float
) -> tuple[Int[np.ndarray, " train"], Int[np.ndarray, " held"]]:
    """Divides 0 .. count - 1 into training and held-out episodes, both in order.

    The episodes are cut into equal runs and one of each run is drawn by a hash of the run's number,
    so that data sets sorted by task give every task its share. The training seed plays no part:
    runs with different seeds hold out the same episodes.

    Args:
      count: number of episodes.
      held_out: below 1 the share, from 1 on the number of episodes to hold out; 0 = none. A
        share holds out at least one of two or more episodes and never all.

    Raises:
      UserError: held_out is negative or leaves nothing to train on.
    """
    if held_out < 0 or held_out >= max(count, 1):
        raise UserError(
            f"config.data.held_out={held_out}: of {count} episodes; give a share in [0, 1) or a "
            "smaller number"
        )
    number = _held_out_number(count, held_out)
    edges = [round(i * count / number) for i in range(number + 1)] if number else []
    runs = list(itertools.pairwise(edges))
    held = np.array([low + _hash(i) % (high - low) for i, (low, high) in enumerate(runs)], np.int64)
    return np.setdiff1d(np.arange(count), held), held


def _held_out_number(count: int, held_out: float) -> int:
    if held_out == 0 or count < 2:
        return 0
    wanted = held_out * count if held_out < 1 else held_out
    return min(max(round(wanted), 1), count - 1)


def _hash(number: int) -> int:
    return int.from_bytes(hashlib.sha256(str(number).encode()).digest()[:8], "little")


def lengths(source: Source, episodes: Int[np.ndarray, " E"]) -> Int[np.ndarray, " E"]:
    """Number of steps of each episode: reads them all once, without decoding frames."""
    bar = tqdm.tqdm(episodes, desc="reading episodes", unit="episode", delay=5)
    return np.array([len(source.episode(int(index))) for index in bar], np.int64)


def frame_mask(episode: Episode, start: int, frames: int) -> Bool[np.ndarray, " T"]:
    """Which of a window's frames are recorded; False = a repeat of the last one."""
    return start + np.arange(frames) < len(episode)


def fill_video(
    source: CachedSource,
    episode: Episode,
    start: int,
    video: UInt8[np.ndarray, "T H W 3"],
    boxes: Sequence[Box],
) -> None:
    """Decodes a window's frames into `video`, repeating the last one beyond the episode's end.

    The episode's cameras fill the boxes in order; boxes left over become black.

    Args:
      source: where the episode comes from.
      episode: of n steps.
      start: step of the first frame, below n.
      video: where the frames go.
      boxes: see `vidact.tiles.boxes`; at least one a camera.

    Raises:
      UserError: a frame is damaged or has another size; names file, record, camera and step.
    """
    real = int(frame_mask(episode, start, len(video)).sum())
    for box, camera in itertools.zip_longest(boxes, episode.cameras):
        pictures = video[(slice(real), *box)]
        if camera is None:
            pictures[:] = 0
            continue
        for step, picture in enumerate(pictures, start):
            source.read_frame(episode, camera, step, picture)
    video[real:] = video[real - 1]


def window_actions(
    episode: Episode, start: int, count: int
) -> tuple[Float[np.ndarray, "Ta A"], Bool[np.ndarray, "Ta A"]]:
    """The window's `count` actions, in the units of the data set, and action_mask."""
    real = min(count, len(episode) - 1 - start)
    actions = np.zeros((count, episode.actions.shape[1]), np.float32)
    actions[:real] = episode.actions[start : start + real]
    mask = np.zeros(actions.shape, bool)
    mask[:real] = True
    return actions, mask
