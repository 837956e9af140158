"""The policy in the simulator: all starts of a task in lockstep, receding horizon."""

import dataclasses
import time

import jax
import numpy as np
import tqdm
from jaxtyping import Array, Bool, UInt8

from vidact.evaluation.policy import Policy
from vidact.simulators.pool import EnvironmentPool
from vidact.simulators.tasks import HELD_OUT_SEED


@dataclasses.dataclass(frozen=True)
class Rollouts:
    """What N episodes of one task came to.

    Attributes:
      task: its name.
      seeds: the starts.
      succeeded: whether each was solved within 500 simulator steps.
      start_vectors: hand and object at each start, metres; for reports only.
      films: what the policy saw at every decision, and at the end, in the first few episodes.
      model_seconds: time in the model.
      simulator_seconds: time in the simulator.
    """

    task: str
    seeds: list[int]
    succeeded: Bool[np.ndarray, " N"]
    start_vectors: list[np.ndarray]
    films: list[UInt8[np.ndarray, "_ H W 3"]]
    model_seconds: float
    simulator_seconds: float


def held_out_seeds(first: int, count: int) -> list[int]:
    """Seeds of `count` starts that no demonstration uses, from the `first`-th on."""
    return list(range(HELD_OUT_SEED + first, HELD_OUT_SEED + first + count))


def roll_out(
    policy: Policy,
    pool: EnvironmentPool,
    task: str,
    seeds: list[int],
    *,
    execute: int,
    key: Array,
    films: int = 0,
) -> Rollouts:
    """Runs all episodes until each is solved or its time is up; the same key, the same result.

    Args:
      policy: asked anew after every `execute` actions.
      pool: rendering; its episodes are replaced.
      task: a name in `tasks.TASKS`.
      seeds: N starts.
      execute: how many actions of each chunk are executed, at most Ta.
      key: draws the policy's noise.
      films: of how many episodes, the first ones, to keep the frames.
    """
    began = time.perf_counter()
    state = pool.reset([task] * len(seeds), seeds)
    clock = {"simulator": time.perf_counter() - began, "model": 0.0}
    frames = [[image] for image in state.images[:films]]
    actions = np.zeros((len(seeds), execute, 4), np.float32)
    with tqdm.tqdm(total=len(seeds), desc=f"{task} rollouts", unit="episode") as bar:
        while not state.finished.all():
            running = np.flatnonzero(~state.finished)
            key, now = jax.random.split(key)
            began = time.perf_counter()
            texts = [pool.instructions[i] for i in running]
            chunk = policy.act(state.images[running], state.states[running], texts, now)
            actions[running] = np.clip(chunk[:, :execute], -1, 1)
            clock["model"] += time.perf_counter() - began
            began = time.perf_counter()
            state = pool.step(actions)
            clock["simulator"] += time.perf_counter() - began
            for i in running[running < films]:
                frames[i].append(state.images[i])
            bar.set_postfix(solved=int(state.succeeded.sum()))
            bar.update(int(state.finished.sum()) - bar.n)
    return Rollouts(
        task=task,
        seeds=seeds,
        succeeded=state.succeeded,
        start_vectors=list(pool.start_vectors),
        films=[np.stack(film) for film in frames],
        model_seconds=clock["model"],
        simulator_seconds=clock["simulator"],
    )
