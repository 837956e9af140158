"""The receding horizon in the real simulator."""

import jax
import numpy as np

from vidact.evaluation.policy import Policy
from vidact.evaluation.rollouts import held_out_seeds, roll_out
from vidact.simulators import baselines, gl, tasks
from vidact.simulators.pool import EnvironmentPool

TASK = "button-press"
KEY = jax.random.key(0)


class Replay(Policy):
    """Plays a recording, whatever it sees, but no more than `execute` actions at a time."""

    def __init__(self, actions: np.ndarray, execute: int):
        self._actions, self._execute, self._calls = actions, execute, 0

    def act(self, images, states, instructions, key):
        step = self._calls * self._execute + np.arange(8)
        self._calls += 1
        chunk = self._actions[np.minimum(step, len(self._actions) - 1)]
        return np.broadcast_to(chunk, (len(images), *chunk.shape))


def recorded_by_the_expert(seed: int) -> np.ndarray:
    gl.activate()
    from vidact.simulators.metaworld import MetaWorld

    env, actions = MetaWorld(TASK), []
    env.reset(seed)
    while not env.finished:
        actions.append(env.expert_action())
        env.step(actions[-1])
    assert env.succeeded
    return np.stack(actions)


def test_it_executes_part_of_each_chunk():
    """With a policy that replays, success is that of the replay baseline: start by start."""
    seeds = held_out_seeds(0, 3)
    actions = recorded_by_the_expert(seeds[0])
    expected = baselines.run_replay(TASK, actions, seeds)
    assert expected[0]
    with EnvironmentPool(TASK, seeds, render=False) as pool:
        found = roll_out(Replay(actions, 3), pool, TASK, seeds, execute=3, key=KEY, films=2)
    np.testing.assert_array_equal(found.succeeded, expected)
    assert len(found.films[0]) == 1 + -(-len(actions) // 3)
    assert len(found.films) == 2 and len(found.start_vectors) == 3


def test_the_same_key_gives_the_same_rollouts(run):
    seeds = held_out_seeds(5, 2)
    policy = Policy(run, steps=1, batch=2)
    films = []
    with EnvironmentPool(TASK, seeds) as pool:
        for _ in range(2):
            done = roll_out(policy, pool, TASK, seeds, execute=4, key=KEY, films=1)
            films.append(done.films)
    assert [len(kept) for kept in films] == [1, 1]
    np.testing.assert_array_equal(films[0][0], films[1][0])


def test_held_out_seeds_are_apart_from_demonstrations():
    assert held_out_seeds(3, 2) == [tasks.HELD_OUT_SEED + 3, tasks.HELD_OUT_SEED + 4]
    assert min(held_out_seeds(0, 60)) > tasks.DEMONSTRATION_SEED + 100_000
