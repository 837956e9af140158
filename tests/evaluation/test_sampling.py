"""Each mode sees what it may see and gives back what it was given."""

import dataclasses

import jax
import numpy as np
import pytest

from vidact.evaluation import opening, sampling
from vidact.processes.joint_time import MODES

KEY = jax.random.key(3)


@pytest.fixture
def batch(dataset):
    return dataset.load(opening.full_windows(dataset, 2))


@pytest.mark.parametrize("mode", MODES)
def test_shapes_and_what_is_given(run, batch, mode):
    found = sampling.sample_windows(run, batch, mode, 2, KEY)
    assert found.video.shape == batch.video.shape and found.video.dtype == np.uint8
    assert found.latents.shape == (2, 2, 8, 8, 6)
    known = sampling.reconstruct(run, batch.video)
    np.testing.assert_array_equal(found.video[:, 0], sampling.first_frame(run, batch.video))
    true_actions = sampling.in_robot_units(run, batch.actions, batch.dataset_id)
    assert found.actions.shape == true_actions.shape
    if mode == "inverse":
        np.testing.assert_array_equal(found.video[:, 1:], known[:, 1:])
    if mode == "forward":
        np.testing.assert_allclose(found.actions, true_actions, atol=1e-6)


def test_what_each_mode_generates():
    assert {mode: sampling.generates(mode) for mode in MODES} == {
        "joint": (True, True),
        "policy": (False, True),
        "video": (True, False),
        "forward": (True, False),
        "inverse": (False, True),
    }


@pytest.mark.parametrize("mode", ["joint", "policy", "video"])
def test_the_future_is_not_seen(run, batch, mode):
    blind = batch.video.copy()
    blind[:, 1:] = 0
    changed = dataclasses.replace(batch, video=blind, actions=np.zeros_like(batch.actions))
    one, other = (sampling.sample_windows(run, b, mode, 2, KEY) for b in (batch, changed))
    np.testing.assert_array_equal(one.video, other.video)
    np.testing.assert_array_equal(one.actions, other.actions)


def test_the_key_decides(run, batch):
    one, same = (sampling.sample_windows(run, batch, "joint", 2, KEY) for _ in range(2))
    other = sampling.sample_windows(run, batch, "joint", 2, jax.random.key(4))
    np.testing.assert_array_equal(one.latents, same.latents)
    np.testing.assert_array_equal(one.actions, same.actions)
    assert np.abs(one.actions - other.actions).max() > 0.01


def test_parameters_are_counted(run):
    path_sizes = jax.tree.leaves(jax.tree.map(np.size, jax.tree.leaves(run.model)))
    assert sampling.parameters(run) == sum(path_sizes)
