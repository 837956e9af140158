"""Seeded starts, pictures and physics of the real simulator."""

import numpy as np
import pytest

from vidact.errors import UserError
from vidact.simulators.metaworld import MAX_SIMULATOR_STEPS, MetaWorld
from vidact.simulators.tasks import STOCK, TASKS, WIDE

QUICKSTART = ("drawer-open", "window-open", "button-press")


@pytest.fixture(scope="module")
def drawer():
    env = MetaWorld("drawer-open")
    yield env
    env.close()


def _see_after(env, seed, actions):
    env.reset(seed)
    for action in actions:
        env.step(action)
    return env.observe()


@pytest.mark.parametrize("task", QUICKSTART)
def test_the_same_seed_gives_bit_identical_episodes_whatever_came_before(task):
    env = MetaWorld(task)
    actions = np.random.default_rng(0).uniform(-1, 1, (6, 4)).astype(np.float32)
    first = _see_after(env, 3, actions)
    _see_after(env, 4, actions[::-1])
    again = _see_after(env, 3, actions)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    other = MetaWorld(task)
    np.testing.assert_array_equal(_see_after(other, 3, actions)[0], first[0])
    env.close()
    other.close()


def test_an_observation_is_a_picture_and_four_numbers(drawer):
    drawer.reset(0)
    image, state = drawer.observe()
    assert image.shape == (64, 64, 3) and image.dtype == np.uint8
    assert state.shape == (4,) and state.dtype == np.float32
    np.testing.assert_allclose(state[:3], drawer.start.hand, atol=0.02)


def test_the_first_picture_shows_where_the_object_is_now(drawer):
    """Meta-World moves the object without telling the renderer: every start looked alike."""
    columns = []
    for seed in range(8):
        drawer.reset(seed)
        image = drawer.image().astype(int)
        green = image[..., 1] > image[..., 0] + 30
        columns.append((np.nonzero(green)[1].mean(), drawer.start.object[0]))
    assert np.corrcoef(np.array(columns).T)[0, 1] > 0.9


def test_the_picture_is_upright_and_not_mirrored(drawer):
    """The robot stands on the left of the picture; moving right in it is moving along x."""
    drawer.reset(1)
    image = drawer.image().astype(int)
    red = image[..., 0] > image[..., 1] + 80
    rows, columns = np.nonzero(red)
    assert columns.mean() < 32
    assert rows[columns < 16].mean() > rows[columns >= 16].mean()  # its foot is lower than its hand


def test_the_goal_marker_is_hidden_unless_the_task_needs_it():
    env = MetaWorld("push")
    env.reset(0)
    shown = env.image()
    env.task = TASKS["drawer-open"]
    assert (env.image() != shown).any()
    env.close()
    assert not any(TASKS[name].shows_goal for name in QUICKSTART)


@pytest.mark.parametrize("task", QUICKSTART)
def test_wide_starts_fill_their_range_and_stock_starts_are_meta_worlds(task):
    vectors = {}
    for starts in (WIDE, STOCK):
        env = MetaWorld(task, starts)
        home = env._hand_home
        vectors[starts.name] = []
        for seed in range(40):
            env.reset(seed)
            vectors[starts.name].append(env.start.vector - np.pad(home, (0, 3)))
    wide, stock = np.array(vectors["wide"]), np.array(vectors["stock"])
    assert (np.abs(wide[:, :3]) <= 0.1).all() and (np.abs(wide[:, :3]).max(0) > 0.08).all()
    assert (np.abs(wide[:, 3]) <= 0.2).all() and np.abs(wide[:, 3]).max() > 0.17
    assert (stock[:, :3] == 0).all()
    assert (np.abs(stock[:, 3]) <= 0.1).all()


def test_putting_an_episode_aside_changes_nothing(drawer):
    actions = np.random.default_rng(1).uniform(-1, 1, (8, 4)).astype(np.float32)
    straight = _see_after(drawer, 5, actions)
    _see_after(drawer, 5, actions[:4])
    saved = drawer.save()
    _see_after(drawer, 6, actions)
    drawer.load(saved)
    assert not drawer.finished
    for action in actions[4:]:
        drawer.step(action)
    image, state = drawer.observe()
    np.testing.assert_array_equal(image, straight[0])
    np.testing.assert_array_equal(state, straight[1])


def test_time_is_up_after_500_simulator_steps(drawer):
    drawer.reset(0)
    control_steps = 0
    while not drawer.finished:
        drawer.step(np.zeros(4, np.float32))
        control_steps += 1
    assert control_steps * 4 == MAX_SIMULATOR_STEPS
    assert drawer.timed_out and not drawer.succeeded
    assert drawer.step(np.zeros(4, np.float32)) is False  # further steps do nothing


def test_an_action_beyond_the_range_is_clipped(drawer):
    huge = np.full((3, 4), 50, np.float32)
    beyond = _see_after(drawer, 2, huge)[1]
    np.testing.assert_array_equal(beyond, _see_after(drawer, 2, np.ones_like(huge))[1])


def test_instructions_vary_with_the_seed_and_every_task_has_four():
    assert all(len(set(task.instructions)) >= 4 for task in TASKS.values())
    env = MetaWorld("button-press")
    said = []
    for seed in range(20):
        env.reset(seed)
        said.append(env.instruction)
    assert set(said) <= set(env.task.instructions) and len(set(said)) >= 4


def test_an_unknown_task_is_named():
    with pytest.raises(UserError, match="fly: unknown task; choose from drawer-open"):
        MetaWorld("fly")
