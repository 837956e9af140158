"""Demonstrations by the scripted experts, recorded in parallel."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import simplejpeg
from jaxtyping import Float

from vidact.simulators.tasks import StartDistribution
from vidact.simulators.workers import Workers

JPEG_QUALITY = 95
STEPS_AFTER_SUCCESS = 4


@dataclasses.dataclass(frozen=True)
class Episode:
    """One demonstration at 20 Hz, T control steps.

    Attributes:
      task: a name in `tasks.TASKS`.
      instruction: what the robot was told.
      seed: gives the same episode again.
      images: T JPEG files, 64 x 64, seen before each action.
      states: float32, hand x, y, z in metres and gripper opening, before each action.
      actions: float32 in [-1, 1], as executed for four simulator steps.
      succeeded: after each action, whether the task has been solved.
      hand_start: metres.
      object_start: metres; Meta-World's random vector.
    """

    task: str
    instruction: str
    seed: int
    images: list[bytes]
    states: Float[np.ndarray, "T 4"]
    actions: Float[np.ndarray, "T 4"]
    succeeded: list[bool]
    hand_start: Float[np.ndarray, "3"]
    object_start: Float[np.ndarray, "k"]


def record(
    tasks: Sequence[str],
    seeds: Sequence[int],
    starts: StartDistribution,
    workers: int | None = None,
) -> Iterator[tuple[int, Episode]]:
    """Records one episode for every pair of a task and a seed, on all cores.

    Args:
      tasks: names in `tasks.TASKS`, one per episode.
      seeds: as many.
      starts: where episodes begin.
      workers: processes; None is one per core.

    Yields:
      Position in the arguments and episode, in the order in which they finish. Failed episodes
      come too: their last `succeeded` is False.
    """
    with Workers(workers, Recorder, starts) as group:
        yield from group.imap("record", zip(tasks, seeds, strict=True))


class Recorder:
    """Lives in a worker: keeps one environment per task and records episodes with it."""

    def __init__(self, starts: StartDistribution):
        self._starts = starts
        self._environments: dict = {}

    def record(self, task: str, seed: int) -> Episode:
        """Runs the expert until a few steps after success."""
        env = self._environment(task)
        env.reset(seed)
        images, states, actions, succeeded = [], [], [], []
        while not env.timed_out and sum(succeeded) <= STEPS_AFTER_SUCCESS:
            image, state = env.observe()
            action = env.expert_action()
            images.append(simplejpeg.encode_jpeg(image, quality=JPEG_QUALITY))
            states.append(state)
            actions.append(action)
            succeeded.append(env.step(action))
        return Episode(
            task=task,
            instruction=env.instruction,
            seed=seed,
            images=images,
            states=np.stack(states),
            actions=np.stack(actions),
            succeeded=succeeded,
            hand_start=env.start.hand.astype(np.float32),
            object_start=env.start.object.astype(np.float32),
        )

    def _environment(self, task: str):
        from vidact.simulators.metaworld import MetaWorld

        if task not in self._environments:
            self._environments[task] = MetaWorld(task, self._starts)
        return self._environments[task]
