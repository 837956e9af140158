"""The pool does to many episodes what one environment does to one."""

import numpy as np
import pytest

from vidact.errors import UserError
from vidact.simulators.metaworld import MetaWorld
from vidact.simulators.pool import EnvironmentPool

TASKS = ["drawer-open", "button-press", "drawer-open"]
SEEDS = [1_000_000, 1_000_001, 1_000_002]


@pytest.fixture(scope="module")
def pool():
    with EnvironmentPool(TASKS, SEEDS, workers=2) as pool:
        yield pool


def test_rows_equal_single_environments_bit_for_bit(pool):
    actions = np.random.default_rng(0).uniform(-1, 1, (3, 6, 4)).astype(np.float32)
    state = pool.reset(TASKS, SEEDS)
    for i, (task, seed) in enumerate(zip(TASKS, SEEDS, strict=True)):
        env = MetaWorld(task)
        env.reset(seed)
        np.testing.assert_array_equal(state.images[i], env.image())
        assert pool.instructions[i] == env.instruction
        np.testing.assert_array_equal(pool.start_vectors[i], env.start.vector)
        env.close()
    pool.step(actions[:, :4])
    state = pool.step(actions[:, 4:])
    for i, (task, seed) in enumerate(zip(TASKS, SEEDS, strict=True)):
        env = MetaWorld(task)
        env.reset(seed)
        for action in actions[i]:
            env.step(action)
        np.testing.assert_array_equal(state.images[i], env.image())
        np.testing.assert_array_equal(state.states[i], env.state())
        env.close()


def test_finished_episodes_keep_their_last_view(pool):
    state = pool.reset(TASKS, SEEDS)
    assert not state.finished.any()
    for _ in range(4):
        before, state = state, pool.step(np.zeros((3, 40, 4), np.float32))
    assert state.finished.all() and not state.succeeded.any()
    after = pool.step(np.full((3, 1, 4), np.nan, np.float32))  # rows of the finished are ignored
    np.testing.assert_array_equal(after.images, state.images)
    np.testing.assert_array_equal(after.states, state.states)
    assert not before.finished.any()  # earlier answers are not written over


def test_a_non_finite_action_names_its_episode_and_harms_nothing(pool):
    still = np.zeros((3, 2, 4), np.float32)
    pool.reset(TASKS, SEEDS)
    expected = pool.step(still)
    pool.reset()
    broken = still.copy()
    broken[1, 1, 0] = np.nan
    with pytest.raises(UserError, match="button-press, seed 1000001: is not finite"):
        pool.step(broken)
    with pytest.raises(UserError, match="k >= 1"):
        pool.step(still[:, :0])
    np.testing.assert_array_equal(pool.step(still).states, expected.states)


def test_without_pictures_the_physics_is_the_same():
    action = np.full((1, 3, 4), 0.5, np.float32)
    states = []
    for render in (True, False):
        with EnvironmentPool("window-open", [7], render=render, workers=1) as pool:
            pool.reset()
            state = pool.step(action)
            states.append(state.states)
            assert state.images.any() == render
    np.testing.assert_array_equal(states[0], states[1])


def test_unknown_tasks_and_unequal_lengths_are_refused():
    with pytest.raises(UserError, match="fly: unknown task"):
        EnvironmentPool("fly", [0])
    with pytest.raises(UserError, match="one seed per task"):
        EnvironmentPool(["drawer-open"], [0, 1])
