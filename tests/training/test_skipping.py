"""What is not finite or far from the usual is skipped, told and kept, and a streak of it stops."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipelines.opening import open_source
from tests import tiny
from vidact.errors import UserError
from vidact.training import prepare, skipped, skipping


def judged(values, spike: float = 10.0):
    """Which of some steps are accepted, and what is usual at the end; losses equal the norms."""
    usual, found = skipping.fresh(), []
    judge = jax.jit(lambda usual, value: skipping.judge(usual, value, value, spike))
    for value in values:
        accepted, usual = judge(usual, jnp.float32(value))
        found.append(bool(accepted))
    return found, usual


def test_what_is_usual_is_a_mean_of_accepted_steps_that_forgets():
    values = np.random.default_rng(0).uniform(1, 2, 150).astype(np.float32)
    found, usual = judged(values)
    assert all(found)
    mean = values[:100].mean(dtype=np.float64)
    for value in values[100:]:
        mean = 0.99 * mean + 0.01 * value
    np.testing.assert_allclose(usual.loss, mean, rtol=1e-5)
    assert (usual.accepted, usual.in_a_row) == (150, 0)


def test_spikes_count_once_enough_is_known_and_move_nothing():
    found, usual = judged([1.0] * 10 + [500.0] + [1.0] * 39)
    assert all(found)  # few steps are known yet
    calm = [1.0] * 60
    found, usual = judged([*calm, 9.9, 12.0, np.nan, np.inf])
    assert found == [True] * 61 + [False] * 3
    assert usual.in_a_row == 3 and usual.accepted == 61
    np.testing.assert_allclose(usual.gradient_norm, (60 + 9.9) / 61, rtol=1e-5)
    assert judged([*calm, 10.5, np.nan, 1.0], spike=0.0)[0][-3:] == [True, False, True]
    assert judged([np.nan, 1.0])[0] == [False, True]  # from the first step on
    assert all(judged([0.0] * 60)[0])  # nothing to learn is no spike


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    config = tiny.config(tiny.write_data(tmp_path_factory.mktemp("skipped")))
    config.data.augment.brightness = 0.2
    return prepare.open_data(config, open_source(config.data))[0]


def row(loss: float, in_a_row: int) -> dict:
    usual = {"loss": 0.5, "gradient_norm": 2.0}
    told = {"loss": loss, "gradient_norm": np.float32(3.0), "in_a_row": in_a_row}
    return {**told, "skipped": in_a_row > 0, "usual": usual}


def test_a_skipped_step_s_batch_is_made_again(dataset, tmp_path):
    rows = [row(0.4, 0), row(5.5, 1), row(float("nan"), 2), row(0.5, 0)]
    skipped.notice(rows, 7, dataset, lambda number: number - 1, tmp_path, 10.0)
    folder = tmp_path / "skipped"
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["5.json", "5.npz", "6.json", "6.npz"]
    told = json.loads((folder / "5.json").read_text())
    assert told["why"] == ["loss 5.5 is above 10 times the usual 0.5"]
    assert told["windows"] == dataset.indices_at(4).tolist()
    assert json.loads((folder / "6.json").read_text())["why"] == ["loss is not finite"]
    expected = next(dataset.from_step(4, 5)).as_dict()
    with np.load(folder / "5.npz") as found:
        assert set(found) == set(expected)
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value)


def test_a_streak_stops_the_run_and_single_steps_do_not(tmp_path):
    rows = [row(5.5, 1), row(5.5, 2), row(0.5, 0), row(float("inf"), 1)]
    skipped.check(rows, 14, 3, tmp_path)
    with pytest.raises(UserError, match=r"step 12: 2 steps in a row were skipped, here loss 5\.5 "):
        skipped.check(rows, 14, 2, tmp_path)
