"""The policy's batches, and what it depends on."""

import dataclasses

import jax
import numpy as np
import pytest

from vidact.actions import denormalise
from vidact.errors import UserError
from vidact.evaluation.policy import Policy, batches

KEY = jax.random.key(0)


def observations(count: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)
    return images, rng.normal(size=(count, 4)).astype(np.float32), ["open it"] * count


def test_batches_cover_all_rows_and_wrap():
    assert batches(5, 2).tolist() == [[0, 1], [2, 3], [4, 0]]
    assert batches(1, 3).tolist() == [[0, 0, 0]]
    assert batches(4, 4).tolist() == [[0, 1, 2, 3]]


def test_one_row_per_observation_and_the_same_again(run):
    policy = Policy(run, steps=1, batch=2)
    actions = policy.act(*observations(5), KEY)
    assert actions.shape == (5, 4, 4) and actions.dtype == np.float32
    np.testing.assert_array_equal(actions, policy.act(*observations(5), KEY))
    assert np.abs(actions - policy.act(*observations(5), jax.random.key(1))).max() > 0.01


def test_rows_do_not_see_each_other(run):
    policy = Policy(run, steps=1, batch=2)
    images, states, texts = observations(2)
    before = policy.act(images, states, texts, KEY)
    images[1], states[1], texts[1] = 0, 0, "something else"
    after = policy.act(images, states, texts, KEY)
    np.testing.assert_allclose(after[0], before[0], atol=1e-5)


def test_a_narrow_data_set_acts_with_its_own_columns(run):
    """As the wide one whose further columns of state are at their centre, which is zero."""
    images, states, texts = observations(2)
    zero = np.zeros_like(states)
    states[:, 3] = denormalise(zero, run.own["state"], run.config.data.normalisation)[:, 3]
    wide = Policy(run, steps=1, batch=2).act(images, states, texts, KEY)
    own = {"action": run.own["action"].take([0, 1]), "state": run.own["state"].take([0, 1, 2])}
    narrow = dataclasses.replace(run, statistics={run.data_set: own})
    found = Policy(narrow, steps=1, batch=2).act(images, states[:, :3], texts, KEY)
    assert found.shape == (2, 4, 2)
    np.testing.assert_allclose(found, wide[..., :2], atol=1e-6)


def test_images_of_another_size_are_refused(run):
    images, states, texts = observations(1)
    with pytest.raises(UserError, match="resolution"):
        Policy(run, steps=1).act(images[:, :32], states, texts, KEY)
