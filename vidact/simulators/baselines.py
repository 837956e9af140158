"""What a policy must beat: blind replay; and what it can hope for: the scripted expert."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from vidact.simulators.tasks import WIDE, StartDistribution, find_task
from vidact.simulators.workers import Workers


def run_expert(
    task: str,
    seeds: Sequence[int],
    starts: StartDistribution = WIDE,
    workers: int | None = None,
) -> Bool[np.ndarray, "N"]:
    """Whether the scripted expert, at the policy's 20 Hz, solves each start; nothing is rendered.

    Args:
      task: a name in `tasks.TASKS`.
      seeds: N starts.
      starts: where episodes begin.
      workers: processes; None is one per core.
    """
    return _run(task, seeds, starts, workers, None)


def run_replay(
    task: str,
    actions: Float[np.ndarray, "T 4"],
    seeds: Sequence[int],
    starts: StartDistribution = WIDE,
    workers: int | None = None,
) -> Bool[np.ndarray, "N"]:
    """Whether one fixed action sequence, its last action held to the end, solves each start.

    Args:
      task: a name in `tasks.TASKS`.
      actions: at 20 Hz, for example `mean_demonstration`.
      seeds: N starts.
      starts: where episodes begin.
      workers: processes; None is one per core.
    """
    return _run(task, seeds, starts, workers, np.asarray(actions, np.float32))


def mean_demonstration(
    demonstrations: Sequence[Float[np.ndarray, "_ 4"]],
) -> Float[np.ndarray, "T 4"]:
    """The mean action at each control step; a demonstration that has ended holds its last action.

    Args:
      demonstrations: the actions of each, float32, lengths differ.

    Returns:
      float32, as long as the longest demonstration.
    """
    length = max(len(actions) for actions in demonstrations)
    held = [np.pad(a, ((0, length - len(a)), (0, 0)), mode="edge") for a in demonstrations]
    return np.stack(held).mean(axis=0, dtype=np.float64).astype(np.float32)


def nearest_start_distance(
    recorded: Sequence[Float[np.ndarray, "k"]], held_out: Sequence[Float[np.ndarray, "k"]]
) -> float:
    """The smallest Euclidean distance, in metres, between a recorded and a held-out start.

    Args:
      recorded: start vectors (hand and object) of the demonstrations of one task.
      held_out: start vectors of the evaluation of the same task.
    """
    gaps = np.stack(list(recorded))[:, None] - np.stack(list(held_out))[None]
    return float(np.linalg.norm(gaps, axis=-1).min())


def _run(task, seeds, starts, workers, actions) -> Bool[np.ndarray, "N"]:
    find_task(task)
    succeeded = np.zeros(len(seeds), bool)
    with Workers(workers, _Runner, task, starts, actions) as group:
        for index, success in group.imap("run", [(int(seed),) for seed in seeds]):
            succeeded[index] = success
    return succeeded


class _Runner:
    """Lives in a worker: runs whole episodes without a picture."""

    def __init__(self, task: str, starts: StartDistribution, actions: np.ndarray | None):
        from vidact.simulators.metaworld import MetaWorld

        self._env = MetaWorld(task, starts)
        self._actions = actions

    def run(self, seed: int) -> bool:
        env = self._env
        env.reset(seed)
        step = 0
        while not env.finished:
            if self._actions is None:
                action = env.expert_action()
            else:
                action = self._actions[min(step, len(self._actions) - 1)]
            env.step(action)
            step += 1
        return env.succeeded
