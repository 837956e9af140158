"""Statistics of actions and states over all steps, without decoding a frame."""

import numpy as np
import tqdm
from jaxtyping import Int

from data_pipelines.running_statistics import RunningStatistics
from data_pipelines.sources.episode import Source
from vidact import actions
from vidact.errors import UserError


def compute(source: Source, episodes: Int[np.ndarray, " E"]) -> dict[str, actions.Statistics]:
    """Statistics of 'action' and 'state' over every step of the given episodes.

    Quantiles are numpy's linear ones, exact; memory does not grow with the number of steps.

    Args:
      source: where the episodes lie; it refuses non-finite values, naming file and step.
      episodes: indices in the source, at least one.

    Raises:
      UserError: no episodes, one of them is not sound, or there is no room for temporary files.
    """
    if not len(episodes):
        raise UserError(f"{source.name}: no episodes to take statistics of; lower held_out")
    running = {"action": RunningStatistics(), "state": RunningStatistics()}
    for index in tqdm.tqdm(episodes, desc="statistics", unit="episode", delay=5):
        episode = source.episode(int(index))
        running["action"].add(episode.actions)
        running["state"].add(episode.states)
    return {name: rows.finish() for name, rows in running.items()}
