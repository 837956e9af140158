"""Expert, blind replay, and the distance between starts."""

import numpy as np
import pytest

from vidact.simulators.baselines import (
    mean_demonstration,
    nearest_start_distance,
    run_expert,
    run_replay,
)
from vidact.simulators.recording import STEPS_AFTER_SUCCESS, record
from vidact.simulators.tasks import HELD_OUT_SEED, STOCK, WIDE


@pytest.mark.parametrize("task", ["drawer-open", "window-open", "button-press"])
def test_the_expert_solves_wide_starts(task):
    seeds = [HELD_OUT_SEED + i for i in range(4)]
    assert run_expert(task, seeds, WIDE, workers=2).all()


@pytest.mark.parametrize("task", ["push", "pick-place", "door-open"])
def test_the_expert_solves_the_harder_tasks_from_stock_starts(task):
    seeds = [HELD_OUT_SEED + i for i in range(4)]
    assert run_expert(task, seeds, STOCK, workers=2).all()


def test_replay_of_a_demonstration_solves_its_own_start_and_not_every_other():
    """The stored actions are the executed ones: from the same seed they do the same again."""
    [(_, episode)] = list(record(["drawer-open"], [3], WIDE, workers=1))
    assert episode.succeeded[-1] and sum(episode.succeeded) == STEPS_AFTER_SUCCESS + 1
    assert np.abs(episode.actions).max() <= 1
    solved = run_replay("drawer-open", episode.actions, [3, 8, 9, 10], WIDE, workers=2)
    assert solved[0] and not solved.all()


def test_the_mean_demonstration_holds_the_last_action_of_the_short_ones():
    long = np.array([[0.0] * 4, [1.0] * 4, [1.0] * 4], np.float32)
    short = np.array([[1.0] * 4, [0.0] * 4], np.float32)
    mean = mean_demonstration([long, short])
    np.testing.assert_array_equal(mean[:, 0], [0.5, 0.5, 0.5])
    assert mean.dtype == np.float32


def test_nearest_start_distance():
    recorded = [np.array([0.0, 0.0]), np.array([1.0, 0.0])]
    held_out = [np.array([1.0, 3.0]), np.array([4.0, 0.0]), np.array([0.0, 5.0])]
    assert nearest_start_distance(recorded, held_out) == 3.0
