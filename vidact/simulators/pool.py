"""Many environments stepped in lockstep over a few processes: a rollout's batch."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8

from vidact.errors import UserError
from vidact.simulators.tasks import WIDE, StartDistribution, find_task
from vidact.simulators.workers import Workers


@dataclasses.dataclass(frozen=True)
class PoolState:
    """What N environments show; row i belongs to episode i throughout.

    Attributes:
      images: uint8; all zero where the pool does not render. A finished episode keeps its last.
      states: float32, hand x, y, z in metres and gripper opening; likewise.
      succeeded: whether the task has been solved.
      finished: solved, or 500 simulator steps are used up.
    """

    images: UInt8[np.ndarray, "N 64 64 3"]
    states: Float[np.ndarray, "N 4"]
    succeeded: Bool[np.ndarray, "N"]
    finished: Bool[np.ndarray, "N"]


class EnvironmentPool:
    """N episodes at once, each given by a task and a seed.

    Use it as a context manager, or call `close`. `reset` may be called again with other episodes,
    which is faster than a new pool.

    Args:
      tasks: names in `tasks.TASKS`, one per episode; one name stands for all.
      seeds: one per episode.
      starts: where episodes begin.
      render: False leaves `images` zero; physics alone is ten times faster.
      workers: processes; None is one per core.

    Raises:
      UserError: unknown task, lengths that differ, or no GL library.
    """

    def __init__(
        self,
        tasks: str | Sequence[str],
        seeds: Sequence[int],
        starts: StartDistribution = WIDE,
        render: bool = True,
        workers: int | None = None,
    ):
        self._episodes = _pair(tasks, seeds)
        self._workers = Workers(workers, _Slots, starts, render)
        self._state: PoolState | None = None
        self.instructions: list[str] = []
        self.start_vectors: list[np.ndarray] = []

    def __enter__(self) -> "EnvironmentPool":
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the processes; safe to call again."""
        self._workers.close()

    def reset(
        self, tasks: str | Sequence[str] | None = None, seeds: Sequence[int] | None = None
    ) -> PoolState:
        """Starts all episodes and fills `instructions` and `start_vectors` (for reports only).

        Args:
          tasks: if given (with `seeds`), other episodes from now on.
          seeds: likewise.
        """
        if tasks is not None or seeds is not None:
            if tasks is None or seeds is None:
                raise UserError("EnvironmentPool.reset: give tasks and seeds together, or neither")
            self._episodes = _pair(tasks, seeds)
        count = len(self._episodes)
        self._state = PoolState(
            np.zeros((count, 64, 64, 3), np.uint8),
            np.zeros((count, 4), np.float32),
            np.zeros(count, bool),
            np.zeros(count, bool),
        )
        self.instructions, self.start_vectors = [""] * count, [np.zeros(0)] * count
        for worker in range(len(self._workers)):
            mine = self._rows(worker)
            self._workers.send(worker, "reset", [self._episodes[i] for i in mine])
        for worker, answers in enumerate(self._workers.gather()):
            for i, (image, state, text, start) in zip(self._rows(worker), answers, strict=True):
                if image is not None:
                    self._state.images[i] = image
                self._state.states[i] = state
                self.instructions[i], self.start_vectors[i] = text, start
        return self._copy()

    def step(self, actions: Float[np.ndarray, "N k 4"]) -> PoolState:
        """Executes k actions open loop in every unfinished episode, then looks.

        Args:
          actions: in [-1, 1] (clipped), each held for 4 simulator steps. Rows of finished episodes
            are ignored.

        Raises:
          UserError: wrong shape, or an action that is not finite.
          RuntimeError: `reset` was not called, or a worker failed.
        """
        state = self._state
        if state is None:
            raise RuntimeError("EnvironmentPool.step: call reset first")
        actions = np.asarray(actions, np.float32)
        self._check(actions, state.finished)
        for worker in range(len(self._workers)):
            rows = [None if state.finished[i] else actions[i] for i in self._rows(worker)]
            self._workers.send(worker, "step", rows)
        for worker, answers in enumerate(self._workers.gather()):
            for i, answer in zip(self._rows(worker), answers, strict=True):
                if answer is not None:
                    image, state.states[i], state.succeeded[i], state.finished[i] = answer
                    if image is not None:
                        state.images[i] = image
        return self._copy()

    def _rows(self, worker: int) -> range:
        return range(worker, len(self._episodes), len(self._workers))

    def _copy(self) -> PoolState:
        fields = dataclasses.fields(PoolState)
        return PoolState(*(getattr(self._state, field.name).copy() for field in fields))

    def _check(self, actions: np.ndarray, finished: np.ndarray) -> None:
        count = len(self._episodes)
        if actions.ndim != 3 or actions.shape[::2] != (count, 4) or actions.shape[1] < 1:
            raise UserError(f"actions: shape {actions.shape}; expected ({count}, k, 4), k >= 1")
        finite = np.isfinite(actions).all(axis=(1, 2)) | finished
        if not finite.all():
            task, seed = self._episodes[int(np.argmin(finite))]
            raise UserError(
                f"action for {task}, seed {seed}: is not finite; "
                "the checkpoint is broken, take an earlier one"
            )


def _pair(tasks: str | Sequence[str], seeds: Sequence[int]) -> list[tuple[str, int]]:
    names = [tasks] * len(seeds) if isinstance(tasks, str) else list(tasks)
    if len(names) != len(seeds):
        raise UserError(f"{len(names)} tasks and {len(seeds)} seeds: give one seed per task")
    for name in set(names):
        find_task(name)
    return [(name, int(seed)) for name, seed in zip(names, seeds, strict=True)]


class _Slots:
    """Lives in a worker: its share of the episodes, and one environment per task.

    An environment takes 40 MB, a snapshot of an episode a few KB: so episodes take turns.
    """

    def __init__(self, starts: StartDistribution, render: bool):
        self._starts = starts
        self._render = render
        self._environments: dict = {}
        self._slots: list[tuple] = []

    def reset(self, episodes: list[tuple[str, int]]) -> list[tuple]:
        self._slots, answers = [], []
        for task, seed in episodes:
            env = self._environment(task)
            env.reset(seed)
            answers.append((self._image(env), env.state(), env.instruction, env.start.vector))
            self._slots.append((env, env.save()))
        return answers

    def step(self, rows: list[np.ndarray | None]) -> list[tuple | None]:
        return [None if row is None else self._advance(slot, row) for slot, row in enumerate(rows)]

    def _advance(self, slot: int, actions: np.ndarray) -> tuple:
        env, snapshot = self._slots[slot]
        env.load(snapshot)
        for action in actions:
            if not env.finished:
                env.step(action)
        self._slots[slot] = (env, env.save())
        return self._image(env), env.state(), env.succeeded, env.finished

    def _environment(self, task: str):
        from vidact.simulators.metaworld import MetaWorld  # only here: the parent needs no MuJoCo

        if task not in self._environments:
            self._environments[task] = MetaWorld(task, self._starts)
        return self._environments[task]

    def _image(self, env) -> np.ndarray | None:
        return env.image() if self._render else None
