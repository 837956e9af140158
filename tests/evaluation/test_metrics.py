"""Metrics against values worked out by hand."""

import math

import numpy as np
import pytest

from vidact.evaluation.metrics import actions, intervals, psnr


def clips(*values: int) -> np.ndarray:
    """One clip of 4 x 4 frames, each of one grey."""
    frames = [np.full((4, 4, 3), value, np.uint8) for value in values]
    return np.stack(frames)[None]


def everything(video: np.ndarray) -> np.ndarray:
    return np.ones(video.shape[:-1], bool)


def test_psnr_of_a_constant_error():
    truth = clips(100, 100)
    found = psnr.psnr(clips(105, 95), truth, everything(truth))
    np.testing.assert_allclose(found, 20 * math.log10(255 / 5))


def test_psnr_does_not_wrap_around_and_knows_perfection():
    truth = clips(0, 0)
    assert psnr.psnr(clips(255, 255), truth, everything(truth)) == pytest.approx(0.0)
    assert psnr.psnr(truth, truth, everything(truth)) == math.inf
    assert np.isnan(psnr.psnr(truth, truth, np.zeros(truth.shape[:-1], bool)))


def test_gain_is_the_logarithm_of_the_ratio_of_errors():
    truth, generated = clips(100, 140, 140), clips(0, 136, 144)
    gain = psnr.psnr_gain(generated, truth, truth[:, 0], everything(truth))
    np.testing.assert_allclose(gain, 20 * math.log10(40 / 4))


def test_the_first_frame_and_padding_do_not_count():
    truth, generated = clips(100, 140, 140), clips(0, 136, 0)
    pixels = psnr.valid(truth, np.array([[True, True, False]]))
    gain = psnr.psnr_gain(generated, truth, truth[:, 0], pixels)
    np.testing.assert_allclose(gain, 20 * math.log10(40 / 4))


def test_moving_pixels_are_those_that_change_by_more_than_ten():
    truth = clips(100, 100, 100)
    truth[0, 1, 0, 0, 2] = 110
    truth[0, 2, 1, 1, 0] = 89
    truth[0, 2, 3, 3, 1] = 111
    found = psnr.moving(truth, np.array([[True, True, True]]))
    assert np.argwhere(found).tolist() == [[0, 2, 1, 1], [0, 2, 3, 3]]
    assert not psnr.moving(truth, np.array([[True, True, False]])).any()


def test_mean_leaves_out_clips_without_motion():
    assert psnr.mean_db(np.array([1.0, np.nan, 2.0])) == 1.5
    assert np.isnan(psnr.mean_db(np.array([np.nan])))


def test_action_errors_in_robot_units_under_the_mask():
    truth = np.array([[[1.0, -2.0], [9.0, 9.0]]], np.float32)
    mask = np.array([[[True, True], [False, False]]])
    found = actions.action_errors(truth + 0.5, truth, mask, np.array([1.0, 0.0], np.float32))
    assert found == pytest.approx({"model": 0.5, "hold_still": 1.5, "mean_action": 1.0})


def test_no_label_gives_no_error():
    truth = np.zeros((1, 2, 3), np.float32)
    assert np.isnan(actions.mean_absolute_error(truth, truth, np.zeros(truth.shape, bool)))


def test_wilson_by_its_formula():
    k, n, z = 54, 60, 1.959963984540054
    p = k / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert intervals.wilson(k, n) == pytest.approx((centre - half, centre + half))
    assert intervals.wilson(0, 60)[0] == 0.0
    assert intervals.wilson(60, 60)[1] == 1.0
