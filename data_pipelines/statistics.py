"""Statistics of actions and states over all steps, without decoding a frame."""

import numpy as np
import tqdm
from jaxtyping import Int

from data_pipelines.sources.episode import Source
from vidact import actions
from vidact.errors import UserError


def compute(source: Source, episodes: Int[np.ndarray, " E"]) -> dict[str, actions.Statistics]:
    """Statistics of 'action' and 'state' over every step of the given episodes.

    Quantiles are numpy's linear ones. All rows are held in memory: 8 M steps of 14 dimensions a GB.

    Args:
      source: where the episodes lie; it refuses non-finite values, naming file and step.
      episodes: indices in the source, at least one.

    Raises:
      UserError: no episodes, or one of them is not sound.
    """
    if not len(episodes):
        raise UserError(f"{source.name}: no episodes to take statistics of; lower held_out")
    rows: dict[str, list[np.ndarray]] = {"action": [], "state": []}
    for index in tqdm.tqdm(episodes, desc="statistics", unit="episode", delay=5):
        episode = source.episode(int(index))
        rows["action"].append(episode.actions)
        rows["state"].append(episode.states)
    return {name: actions.measure(np.concatenate(parts)) for name, parts in rows.items()}
