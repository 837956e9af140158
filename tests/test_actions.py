"""Normalising and its inverse, statistics as JSON, interpolation."""

import numpy as np
import pytest

from vidact import actions
from vidact.errors import UserError


@pytest.fixture
def values():
    """1000 steps of: a normal, a constant, a constant 0, a rarely moving gripper, tiny units."""
    random = np.random.default_rng(0)
    gripper = np.zeros(1000)
    gripper[:4] = 1.0
    columns = [
        random.normal(3.0, 2.0, 1000),
        np.full(1000, 0.7),
        np.zeros(1000),
        gripper,
        random.uniform(-1e-5, 1e-5, 1000),
    ]
    return np.stack(columns, axis=-1).astype(np.float32)


@pytest.mark.parametrize("method", actions.METHODS)
def test_round_trip(values, method):
    statistics = actions.measure(values)
    normal = actions.normalise(values, statistics, method)
    assert normal.dtype == np.float32
    back = actions.denormalise(normal, statistics, method)
    spread = np.maximum(np.ptp(values, axis=0), np.abs(values).max(0))
    assert np.all(np.abs(back - values) <= 2e-7 * spread)


@pytest.mark.parametrize("method", actions.METHODS)
def test_constants_become_zero_and_come_back_whatever_was_predicted(values, method):
    statistics = actions.measure(values)
    np.testing.assert_array_equal(actions.normalise(values, statistics, method)[:, 1:3], 0.0)
    wild = np.full((2, 3, 5), 9.0, np.float32)
    back = actions.denormalise(wild, statistics, method)
    np.testing.assert_array_equal(back[..., 1], np.float32(0.7))
    np.testing.assert_array_equal(back[..., 2], 0.0)


def test_float_noise_is_constant():
    noisy = 5.0 + np.random.default_rng(0).uniform(-1e-6, 1e-6, (100, 1))
    assert np.all(actions.normalise(noisy, actions.measure(noisy)) == 0.0)
    around_zero = np.random.default_rng(0).uniform(-4e-10, 4e-10, (100, 1))
    assert np.all(actions.normalise(around_zero, actions.measure(around_zero)) == 0.0)


def test_quantiles_map_to_the_ends_and_nothing_is_clipped(values):
    statistics = actions.measure(values)
    ends = np.stack([statistics.q01, statistics.q99])
    normal = actions.normalise(ends, statistics)
    np.testing.assert_allclose(normal[:, 0], [-1.0, 1.0], atol=1e-6)
    assert np.abs(actions.normalise(values, statistics)[:, 0]).max() > 1.0


def test_a_rarely_moving_dimension_is_scaled_by_its_extremes(values):
    statistics = actions.measure(values)
    assert statistics.q01[3] == statistics.q99[3] == 0.0
    gripper = actions.normalise(values, statistics)[:, 3]
    assert set(gripper) == {-1.0, 1.0}


def test_mean_std(values):
    normal = actions.normalise(values, actions.measure(values), "mean_std")
    np.testing.assert_allclose(normal[:, 0].mean(), 0.0, atol=1e-6)
    np.testing.assert_allclose(normal[:, 0].std(), 1.0, atol=1e-6)


def test_unknown_method_and_wrong_width(values):
    statistics = actions.measure(values)
    with pytest.raises(UserError, match="'median': unknown; choose from q01_q99"):
        actions.normalise(values, statistics, "median")
    with pytest.raises(ValueError, match="5 dimensions"):
        actions.normalise(values[:, :2], statistics)
    with pytest.raises(ValueError, match="at least one row"):
        actions.measure(values[:0])


def test_statistics_survive_a_file_exactly(values, tmp_path):
    path = tmp_path / "statistics.json"
    statistics = actions.measure(values)
    actions.save_statistics(path, {"action": statistics, "state": statistics})
    loaded = actions.load_statistics(path)
    assert sorted(loaded) == ["action", "state"]
    assert loaded["action"].to_json() == statistics.to_json()
    assert loaded["action"].count == 1000
    normal = actions.normalise(values, statistics)
    np.testing.assert_array_equal(actions.normalise(values, loaded["state"]), normal)


def test_missing_and_broken_statistics(tmp_path):
    path = tmp_path / "statistics.json"
    with pytest.raises(UserError, match="no such statistics file; copy"):
        actions.load_statistics(path)
    for text in ("{", "[]", '{"action": 3}', '{"action": {"q01": [0]}}'):
        path.write_text(text)
        with pytest.raises(UserError, match="not a statistics file"):
            actions.load_statistics(path)


def test_interpolation_from_20_to_100_hz():
    chunk = np.array([[0.0, 1.0], [1.0, 1.0], [3.0, 0.0]], np.float32)
    commands = actions.interpolate(chunk, 20.0, 100.0)
    assert commands.shape == (15, 2)
    np.testing.assert_allclose(commands[::5], chunk)
    np.testing.assert_allclose(commands[:6, 0], np.arange(6) / 5, atol=1e-6)
    np.testing.assert_array_equal(commands[10:], np.tile(chunk[-1], (5, 1)))


def test_interpolation_keeps_and_lowers_rates():
    chunk = np.arange(8, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(actions.interpolate(chunk, 20.0, 20.0), chunk)
    np.testing.assert_array_equal(actions.interpolate(chunk, 20.0, 10.0), chunk[::2])
    assert actions.interpolate(chunk, 20.0, 1.0).shape == (1, 1)


def test_interpolation_refuses_nonsense():
    with pytest.raises(ValueError, match="rates must be positive"):
        actions.interpolate(np.zeros((2, 1), np.float32), 0.0, 100.0)
    with pytest.raises(ValueError, match="at least one action"):
        actions.interpolate(np.zeros((0, 1), np.float32), 20.0, 100.0)
