"""Success of a run in the simulator, task by task, beside the two controls on the same starts."""

import dataclasses
import importlib.util
import time
from collections.abc import Iterator

import jax
import numpy as np
from jaxtyping import UInt8

from data_pipelines.pipeline import WindowDataset
from vidact.errors import UserError
from vidact.evaluation import members, robot
from vidact.evaluation.controls import Demonstrations, demonstrations
from vidact.evaluation.metrics.intervals import wilson
from vidact.evaluation.policy import Policy
from vidact.evaluation.rollouts import Rollouts, held_out_seeds, roll_out
from vidact.simulators import baselines, tasks
from vidact.simulators.pool import EnvironmentPool
from vidact.training.runs import Run


@dataclasses.dataclass(frozen=True)
class TaskSuccess:
    """One task's rollouts and controls; all three ran from the same starts.

    Attributes:
      task: its name.
      success, replay, expert: how many of `rollouts` starts the policy, the replayed mean
        demonstration and the scripted expert solved.
      rollouts: number of starts.
      interval: 95 % Wilson interval of the policy's rate.
      nearest_start_m: smallest distance to a recorded start, or None where none is recorded.
      solved: by the policy, start by start.
      films: see `Rollouts`.
      seconds: of the model, the simulator and the controls.
    """

    task: str
    success: int
    replay: int
    expert: int
    rollouts: int
    interval: tuple[float, float]
    nearest_start_m: float | None
    solved: list[bool]
    films: list[UInt8[np.ndarray, "_ H W 3"]]
    seconds: dict[str, float]

    @property
    def rate(self) -> float:
        """Share of solved starts."""
        return self.success / self.rollouts

    def line(self) -> str:
        """The line that `vidact.evaluate` prints."""
        n, (low, high) = self.rollouts, self.interval
        return (
            f"{self.task} success: {self.success}/{n} [{low:.2f}, {high:.2f}] "
            f"replay: {self.replay}/{n} expert: {self.expert}/{n}"
        )


def check(run: Run) -> None:
    """Whether the run can act in the simulator as config.evaluate asks.

    Raises:
      UserError: a setting is wrong, the run does not act as the simulator's robot does, or
        Meta-World is missing.
    """
    config = run.config.evaluate
    for name in config.tasks:
        tasks.find_task(name)
    tasks.find_starts(config.starts)
    robot.check(run)
    if importlib.util.find_spec("metaworld") is None:
        raise UserError("metaworld: not installed; run `pip install -e '.[metaworld]'`")


def measure(run: Run, dataset: WindowDataset, films: int = 0) -> Iterator[TaskSuccess]:
    """Rolls the policy out on every task of config.evaluate, yielding as tasks are done.

    Args:
      run: a trained model that `check` passed.
      dataset: the run's held-out windows, for its source of demonstrations.
      films: of how many episodes a task to keep the frames.

    Raises:
      UserError: the data set holds no demonstration of a task.
    """
    config = run.config.evaluate
    recorded = demonstrations(dataset, config.tasks, members.number(run))
    policy = Policy(run, config.steps)
    seeds = held_out_seeds(config.seed, config.rollouts)
    starts = tasks.find_starts(config.starts)
    key = jax.random.key(config.seed)
    with EnvironmentPool(config.tasks[0], seeds, starts) as pool:
        for number, task in enumerate(config.tasks):
            mine = jax.random.fold_in(key, number)
            done = roll_out(
                policy, pool, task, seeds, execute=config.execute, key=mine, films=films
            )
            yield _with_controls(done, recorded[task], starts)


def _with_controls(
    done: Rollouts, recorded: Demonstrations, starts: tasks.StartDistribution
) -> TaskSuccess:
    began = time.perf_counter()
    mean = baselines.mean_demonstration(recorded.actions)
    replay = baselines.run_replay(done.task, mean, done.seeds, starts)
    expert = baselines.run_expert(done.task, done.seeds, starts)
    nearest = None
    if recorded.starts:
        nearest = baselines.nearest_start_distance(recorded.starts, done.start_vectors)
    success, count = int(done.succeeded.sum()), len(done.seeds)
    return TaskSuccess(
        task=done.task,
        success=success,
        replay=int(replay.sum()),
        expert=int(expert.sum()),
        rollouts=count,
        interval=wilson(success, count),
        nearest_start_m=nearest,
        solved=done.succeeded.tolist(),
        films=done.films,
        seconds={
            "model": done.model_seconds,
            "simulator": done.simulator_seconds,
            "controls": time.perf_counter() - began,
        },
    )
