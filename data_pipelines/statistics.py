"""Statistics of actions and states over all steps, without decoding a frame."""

import numpy as np

from data_pipelines.episode import Episode
from vidact import actions, command
from vidact.errors import UserError


class Measured:
    """Collects 'action' and 'state' of episodes."""

    def __init__(self) -> None:
        self._rows: dict[str, list[np.ndarray]] = {"action": [], "state": []}

    def add(self, episode: Episode) -> None:
        """Takes every step of an episode."""
        self._rows["action"].append(episode.actions)
        self._rows["state"].append(episode.states)

    def finish(self, name: str) -> dict[str, actions.Statistics]:
        """Statistics over all that was added; quantiles are numpy's linear ones.

        Raises:
          UserError: no step was added; `name` is the data set's.
        """
        if not sum(map(len, self._rows["action"])):
            raise UserError(f"{name}: no training step to take statistics of; lower held_out")
        return {key: actions.measure(np.concatenate(rows)) for key, rows in self._rows.items()}


if __name__ == "__main__":
    from data_pipelines import statistics_command  # it needs this module, which is done here

    command.run(statistics_command.main)
