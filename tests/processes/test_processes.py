"""Rectified flow and the times of two modalities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidact.processes import joint_time, rectified_flow


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


def test_edges_get_their_share():
    t = np.asarray(joint_time.independent(jax.random.key(0), 20000, 0.5, 0.7))
    policy = (t[:, 0] == 1).mean()
    others = [(t[:, 1] == 1).mean(), (t[:, 1] == 0).mean(), (t[:, 0] == 0).mean()]
    assert abs(policy - 0.35) < 0.01
    assert np.allclose(others, 0.05, atol=0.01)
    assert t.min() >= 0 <= t.max() <= 1
    free = np.asarray(joint_time.independent(jax.random.key(1), 20000))
    assert abs(np.corrcoef(free.T)[0, 1]) < 0.03
    assert abs(free.mean() - 0.5) < 0.01
