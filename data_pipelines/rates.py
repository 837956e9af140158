"""Episodes at another rate than they were recorded at.

Step j of the new episode lies at time j / to, which is step p_j = j * from / to of the old one.
Frame, state and instruction are the last ones recorded by then. A displacement is what the old ones
add up to between p_j and p_{j+1} (rotations as the field adds them, angle by angle); a target is
the one in force when frame j + 1 is reached. A slower data set thus repeats frames and divides its
displacements; a faster one skips frames and adds them up. Nothing is extrapolated: the new episode
ends at the last p_j that was recorded.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from data_pipelines.episode import Episode
from data_pipelines.sources import checks

_ROUNDING = 1e-6  # of a step: 15 Hz to 5 Hz takes every third step exactly


def resampled_length(steps: int, rate: float, wanted: float) -> int:
    """Number of steps of an episode of `steps` once it is at the wanted rate, both in 1/s."""
    return int((steps - 1) * wanted / rate + _ROUNDING) + 1 if steps else 0


def resample(episode: Episode, rate: float, wanted: float, deltas: Sequence[int]) -> Episode:
    """The episode at `wanted` steps a second instead of `rate`.

    Args:
      episode: of n steps.
      rate, wanted: steps a second, greater than 0.
      deltas: columns of the action that are displacements per step.

    Raises:
      UserError: displacements add up to more than float32 holds; names the episode.
    """
    if rate == wanted or not len(episode):
        return episode
    count = resampled_length(len(episode), rate, wanted)
    places = np.arange(count + 1) * (rate / wanted)
    kept = episode.keep(np.floor(places[:-1] + _ROUNDING).astype(np.int64))
    last = np.ceil(places[1:] - _ROUNDING).astype(np.int64) - 1
    actions = episode.actions[np.minimum(last, len(episode) - 1)]
    columns = list(deltas)
    sums = _sums(episode.actions[:, columns], places)
    actions[:, columns] = checks.as_float32(sums, f"{episode.name}: displacements")
    return dataclasses.replace(kept, actions=actions)


def _sums(
    deltas: Float[np.ndarray, "n k"], places: Float[np.ndarray, " m"]
) -> Float[np.ndarray, "m-1 k"]:
    """Of displacements between neighbouring places; beyond the last step nothing moves."""
    totals = np.concatenate([np.zeros((1, deltas.shape[1])), np.cumsum(deltas, 0, np.float64)])
    at = np.empty((len(places), deltas.shape[1]))
    for column in range(deltas.shape[1]):
        at[:, column] = np.interp(places, np.arange(len(totals)), totals[:, column])
    return np.diff(at, axis=0)
