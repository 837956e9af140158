"""Rectified flow and the times of two modalities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from vidact.processes import joint_time, opensora_flow, rectified_flow


def test_euler_steps_along_the_true_velocity_reach_the_data():
    rng = np.random.default_rng(0)
    data, noise = (jnp.asarray(rng.normal(size=(2, 3, 4)), jnp.float32) for _ in range(2))
    times = joint_time.schedule("joint", 5)[:, 0]
    x = rectified_flow.interpolate(data, noise, jnp.full((2, 3), times[0]))
    np.testing.assert_array_equal(x, noise)
    for now, after in zip(times[:-1], times[1:], strict=True):
        v = rectified_flow.velocity(data, noise)
        x = rectified_flow.euler_step(x, v, jnp.asarray(now), jnp.asarray(after))
    np.testing.assert_allclose(x, data, atol=1e-6)


def test_each_token_has_its_own_time():
    data, noise = jnp.zeros((1, 3, 2)), jnp.ones((1, 3, 2))
    x = rectified_flow.interpolate(data, noise, jnp.asarray([[0.0, 0.25, 1.0]]))
    np.testing.assert_allclose(x[0, :, 0], [0.0, 0.25, 1.0])


@pytest.mark.parametrize(
    ("mode", "video", "action"),
    [
        ("joint", (1, 0), (1, 0)),
        ("policy", (1, 1), (1, 0)),
        ("video", (1, 0), (1, 1)),
        ("forward", (1, 0), (0, 0)),
        ("inverse", (0, 0), (1, 0)),
    ],
)
def test_schedules_of_the_five_modes(mode, video, action):
    times = joint_time.schedule(mode, 4)
    assert times.shape == (5, 2)
    np.testing.assert_allclose(times[[0, -1]].T, [video, action])


def draw(seed, **settings):
    return np.asarray(joint_time.draw(jax.random.key(seed), 20000, **settings))


def test_edges_get_their_share():
    t = draw(0, sampler="independent", mode_share=0.5, policy_share=0.7)
    policy = (t[:, 0] == 1).mean()
    others = [(t[:, 1] == 1).mean(), (t[:, 1] == 0).mean(), (t[:, 0] == 0).mean()]
    assert abs(policy - 0.35) < 0.01
    assert np.allclose(others, 0.05, atol=0.01)
    assert t.min() >= 0 <= t.max() <= 1
    free = draw(1, sampler="independent")
    assert abs(np.corrcoef(free.T)[0, 1]) < 0.03
    assert abs(free.mean() - 0.5) < 0.01


def test_shared_times_are_one():
    t = draw(0, sampler="shared")
    np.testing.assert_array_equal(t[:, 0], t[:, 1])
    assert stats.kstest(t[:, 0], "uniform").pvalue > 1e-3


def test_asymmetric_times_keep_the_actions_cleaner():
    video, action = draw(0, sampler="asymmetric").T
    assert (video >= action).all()
    # The larger and the smaller of two uniform numbers.
    assert stats.kstest(video, stats.beta(2, 1).cdf).pvalue > 1e-3
    assert stats.kstest(action, stats.beta(1, 2).cdf).pvalue > 1e-3


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_logit_beta_times(shift):
    video, action = draw(0, sampler="logit_beta", shift=shift).T
    assert stats.kstest(action, stats.beta(1.5, 1).cdf).pvalue > 1e-3
    back = video / (video + shift * (1 - video))  # undoes Open-Sora's transform
    assert stats.kstest(np.log(back / (1 - back)), "norm").pvalue > 1e-3
    assert abs(np.corrcoef(video, action)[0, 1]) < 0.03


@pytest.mark.parametrize(("steps", "action_steps"), [(50, 10), (10, 50), (7, 3), (30, 30)])
def test_each_modality_takes_its_own_number_of_steps(steps, action_steps):
    times = joint_time.schedule("joint", steps, action_steps)
    assert len(times) == 1 + max(steps, action_steps)
    for column, count in zip(times.T, (steps, action_steps), strict=True):
        assert column[0] == 1 and column[-1] == 0 and (np.diff(column) <= 0).all()
        np.testing.assert_allclose(np.unique(column), np.arange(count + 1) / count, atol=1e-6)


def test_a_policy_takes_the_actions_steps_only():
    times = joint_time.schedule("policy", 50, 10)
    np.testing.assert_array_equal(times, joint_time.schedule("policy", 10))


def test_shifted_times_are_open_sora_s():
    ratio = opensora_flow.ratio(240, 426, 51)
    times = joint_time.schedule("joint", 30, shift=ratio)
    np.testing.assert_allclose(times[:, 0], opensora_flow.times(30, 240, 426, 51), atol=1e-6)
    np.testing.assert_allclose(times[:, 1], 1 - np.arange(31) / 30, atol=1e-6)


def test_two_stages_finish_the_video_before_the_actions_begin():
    line = joint_time.schedule("joint", 4, 2, order="video_first")
    np.testing.assert_allclose(line[:, 0], [1, 0.75, 0.5, 0.25, 0, 0, 0])
    np.testing.assert_allclose(line[:, 1], [1, 1, 1, 1, 1, 0.5, 0])
    np.testing.assert_array_equal(line, joint_time.schedule("policy", 4, 2, order="video_first"))
    inverse = joint_time.schedule("inverse", 4, order="video_first")
    np.testing.assert_array_equal(inverse, joint_time.schedule("inverse", 4))
    t = np.asarray(joint_time.draw(jax.random.key(0), 4000, sampler="two_stage"))
    video = t[:, 1] == 1
    assert 0.45 < video.mean() < 0.55
    assert (t[~video, 0] == 0).all()
    assert stats.kstest(t[video, 0], "uniform").pvalue > 1e-3
    assert stats.kstest(t[~video, 1], "uniform").pvalue > 1e-3
