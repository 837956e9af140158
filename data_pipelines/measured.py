"""Statistics of actions and states over all steps, without decoding a frame."""

from data_pipelines.episode import Episode
from data_pipelines.running_statistics import RunningStatistics
from vidact import actions
from vidact.errors import UserError

NAMES = ("action", "state")


class Measured:
    """Collects 'action' and 'state' of episodes; memory does not grow with their number."""

    def __init__(self) -> None:
        self._steps = 0
        self._rows = {name: RunningStatistics() for name in NAMES}

    def add(self, episode: Episode) -> None:
        """Takes every step of an episode.

        Raises:
          UserError: there is no room for temporary files.
        """
        self._steps += len(episode)
        self._rows["action"].add(episode.actions)
        self._rows["state"].add(episode.states)

    def finish(self, name: str) -> dict[str, actions.Statistics]:
        """Statistics over all that was added; quantiles are numpy's linear ones, exactly.

        Raises:
          UserError: no step was added; `name` is the data set's.
        """
        if not self._steps:
            raise UserError(f"{name}: no training step to take statistics of; lower held_out")
        return {key: rows.finish() for key, rows in self._rows.items()}
