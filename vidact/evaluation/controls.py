"""What the controls of a rollout need of the data set: demonstrations by task, and their starts."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tqdm
from jaxtyping import Float

from data_pipelines import windows
from data_pipelines.pipeline import WindowDataset
from vidact.errors import UserError
from vidact.evaluation.opening import task_of


@dataclasses.dataclass(frozen=True)
class Demonstrations:
    """What is recorded of one task.

    Attributes:
      actions: of each training episode of the data set, in its units; an RLDS episode's last action
        leads to no frame and is left out.
      starts: hand and object, metres, at the start of every episode, held-out ones included; empty
        where the data set does not say.
    """

    actions: list[Float[np.ndarray, "_ A"]]
    starts: list[Float[np.ndarray, " k"]]


def demonstrations(
    dataset: WindowDataset, tasks: Sequence[str], number: int
) -> dict[str, Demonstrations]:
    """Reads all episodes of some tasks, without decoding a frame.

    Args:
      dataset: windows of any split.
      tasks: names in `tasks.TASKS`.
      number: which of its data sets: each holds out episodes of its own.

    Raises:
      UserError: a task has no training episode.
    """
    data_set = dataset.source.data_sets[number]
    training, _ = windows.split_episodes(len(data_set), dataset.config.held_out)
    trained_on = set(training.tolist())
    found = {task: Demonstrations([], []) for task in tasks}
    for index in tqdm.trange(len(data_set), desc="reading episodes", unit="episode", delay=5):
        episode = data_set.numbers(index)
        recorded = found.get(task_of(episode) or "")
        if recorded is None:
            continue
        if index in trained_on:
            recorded.actions.append(episode.actions[:-1])
        if {"hand_start", "object_start"} <= set(episode.metadata):
            parts = [episode.metadata[name] for name in ("hand_start", "object_start")]
            recorded.starts.append(np.concatenate([np.asarray(part) for part in parts]))
    for task, recorded in found.items():
        if not recorded.actions:
            raise UserError(
                f"{data_set.name}: holds no training episode of {task}; set config.evaluate.tasks "
                "to tasks that it holds, or to '()' for no rollouts"
            )
    return found
