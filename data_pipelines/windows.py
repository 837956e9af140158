"""Which windows there are, which episodes are held out, and one window's place in a batch.

A window that starts at step s takes frames s .. s + T - 1 and actions s .. s + T - 2: action i
leads from frame i to frame i + 1. Every start from which at least one action leads to a recorded
frame counts: s = 0 .. n - 2. Beyond an episode's end the last frame is repeated (frame_mask False)
and the action is neutral, zero before normalising (action_mask False): padding carries no loss.
An episode's last action leads to no frame, and RLDS leaves its meaning open: it is padding too.
With h frames of history a window begins h steps earlier, and is as long; before an episode's
beginning the first frame is repeated, masked and padded alike.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from data_pipelines.episode import Episode
from data_pipelines.episodes import Episodes
from data_pipelines.frames import WHOLE, Placement
from vidact.errors import UserError
from vidact.tiles import Box


@dataclasses.dataclass(frozen=True)
class Windows:
    """Some windows.

    Attributes:
      episodes: window -> number of the episode.
      starts: window -> step of its first frame.
    """

    episodes: Int[np.ndarray, " N"]
    starts: Int[np.ndarray, " N"]

    def __len__(self) -> int:
        return len(self.starts)

    def at(self, indices: Int[np.ndarray, " b"]) -> "Windows":
        """The windows at some places."""
        return Windows(self.episodes[indices], self.starts[indices])

    def all(self) -> "Windows":
        """All of them."""
        return self


class AllWindows:
    """Every window of some episodes, in their order and that of the starts; found when asked for.

    A data set of a hundred million windows takes no more memory than its episodes' numbers do.
    """

    def __init__(self, episodes: Int[np.ndarray, " E"], lengths: Int[np.ndarray, " E"]):
        """Args: episodes: their numbers. lengths: steps of each; one of one step has no window."""
        self._episodes = episodes.astype(np.int32)  # half the memory
        self._ends = np.cumsum(np.maximum(lengths - 1, 0))

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def at(self, indices: Int[np.ndarray, " b"]) -> Windows:
        """The windows at some places, 0 <= index < len(self)."""
        at = np.searchsorted(self._ends, indices, side="right")
        begins = np.where(at > 0, self._ends[at - 1], 0)
        return Windows(self._episodes[at].astype(np.int64), indices - begins)

    def all(self) -> Windows:
        """All of them, in memory."""
        return self.at(np.arange(len(self)))

    def before(self, count: int) -> int:
        """Number of windows of the first `count` episodes."""
        return int(self._ends[count - 1]) if count else 0


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


def frame_mask(episode: Episode, start: int, frames: int) -> Bool[np.ndarray, " T"]:
    """Which of the frames from `start` on are recorded; False = a repeat of the nearest."""
    steps = start + np.arange(frames)
    return (steps >= 0) & (steps < len(episode))


def fill_video(
    source: Episodes,
    number: int,
    start: int,
    video: UInt8[np.ndarray, "T H W 3"],
    boxes: Sequence[Box],
    placement: Placement = WHOLE,
) -> None:
    """Decodes a window's frames into `video`, repeating the nearest beyond the episode's ends.

    The episode's cameras fill the boxes in order; boxes left over become black, and so does that of
    a camera which this data set lacks.

    Args:
      source: where the episode comes from.
      number: of the episode, of n steps.
      start: step of the first frame, below n; below 0 for frames before the first.
      video: where the frames go.
      boxes: see `vidact.tiles.boxes`; at least one a camera.
      placement: how frames come to their box.

    Raises:
      UserError: a frame is damaged or has another size; names file, record, camera and step.
    """
    episode = source.episode(number)
    recorded = np.flatnonzero(frame_mask(episode, start, len(video)))
    first, last = int(recorded[0]), int(recorded[-1])
    for box, camera in itertools.zip_longest(boxes, episode.cameras):
        pictures = video[(slice(first, last + 1), *box)]
        if camera is None or episode.cameras[camera] is None:
            pictures[:] = 0
        else:
            source.read_frames(number, camera, start + first, pictures, placement)
    video[:first], video[last + 1 :] = video[first], video[last]


def window_actions(
    episode: Episode, start: int, count: int
) -> tuple[Float[np.ndarray, "Ta A"], Bool[np.ndarray, "Ta A"]]:
    """The `count` actions from `start` on, in the units of the data set, and action_mask."""
    steps = start + np.arange(count)
    real = (steps >= 0) & (steps < len(episode) - 1)
    actions = np.zeros((count, episode.actions.shape[1]), np.float32)
    actions[real] = episode.actions[steps[real]]
    return actions, np.broadcast_to(real[:, None], actions.shape).copy()
