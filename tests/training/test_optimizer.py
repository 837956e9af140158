"""The learning rate's course, the clip, and what decays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from vidact.errors import UserError
from vidact.training import optimizer

TRUNK, REST = "video/spatial_blocks/mlp/fc1/kernel", "action/blocks/mlp/fc1/kernel"


def config(**changes):
    result = base.get_config().optimizer
    result.update({"learning_rate": 0.1, "warmup": 10, "final": 0.2, **changes})
    return result


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("cosine", {0: 0.0, 5: 0.05, 10: 0.1, 60: 0.06, 110: 0.02, 500: 0.02}),
        ("constant", {0: 0.0, 5: 0.05, 10: 0.1, 60: 0.1, 500: 0.1}),
    ],
)
def test_the_rate_warms_up_and_falls(schedule, rates):
    rate = optimizer.learning_rate(config(schedule=schedule), 110)
    for count, expected in rates.items():
        np.testing.assert_allclose(rate(count), expected, atol=1e-7)


def test_an_unknown_schedule_is_named():
    with pytest.raises(UserError, match=r"config\.optimizer\.schedule='step': choose cosine"):
        optimizer.learning_rate(config(schedule="step"), 10)


@pytest.mark.parametrize("kind", optimizer.KINDS)
def test_only_matrices_decay(kind):
    matrices = dict.fromkeys((TRUNK, REST, "video/blocks/fc1/lora_b"), (2, 4, 6))
    others = {"video/blocks/norm/scale": (2, 4), "action/fc1/bias": (6,), "positions": (3, 4)}
    params = {name: jnp.ones(shape) for name, shape in (matrices | others).items()}
    settings = config(kind=kind, schedule="constant", weight_decay=0.5)
    change = optimizer.make_optimizer(settings, 10)
    state = change.init(params)
    zero = {name: jnp.zeros_like(value) for name, value in params.items()}
    for _ in range(2):  # the rate of step 0 is 0
        updates, state = change.update(zero, state, params)
    rate = 0.1 / 10  # of step 1, in the warm-up
    for name in params:
        expected = -rate * 0.5 if name in matrices else 0.0
        np.testing.assert_allclose(updates[name], expected, rtol=1e-5, err_msg=name)


def one_step(kind, **changes):
    """The second update of two matrices of two layers, for a gradient of random numbers."""
    rng, shape = np.random.default_rng(0), (2, 128, 256)
    given = {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name in (TRUNK, REST)}
    settings = config(kind=kind, schedule="constant", warmup=1, **changes)
    change = optimizer.make_optimizer(settings, 10)
    params = {name: jnp.ones_like(value) for name, value in given.items()}
    state = change.init(params)
    for _ in range(2):  # the rate of step 0 is 0
        updates, state = change.update(given, state, params)
    return given, updates, state


def test_muon_turns_the_trunk_s_matrices_into_orthogonal_ones():
    given, updates, _ = one_step("muon", clip=1e9)
    for layer in range(2):
        values = np.linalg.svd(updates[TRUNK][layer], compute_uv=False)
        assert values.max() / values.min() < 2 < np.linalg.cond(given[TRUNK][layer])
    # Adam for an even gradient, whose sign it is; Nesterov's momentum, (b1 m + (1 - b1) g) with m
    # corrected one step ahead, is 15.7 % more of it in the second step.
    ahead = 0.9 * (1 - 0.9**2) / (1 - 0.9**3) + 0.1 / (1 - 0.9**2)
    np.testing.assert_allclose(updates[REST], -0.1 * ahead * np.sign(given[REST]), rtol=1e-3)
    # As large as AdamW's usual 0.2 to 0.4 of the rate.
    assert np.sqrt(np.square(updates[TRUNK]).mean()) == pytest.approx(0.2 * 0.1, rel=0.3)


def test_adafactor_keeps_sums_of_rows_and_columns_only():
    given, updates, state = one_step("adafactor", clip=1e9)
    largest = max(leaf.size for leaf in jax.tree.leaves(state))
    assert largest == 2 * 256
    # Its second moment is the product of the means over rows and columns (1804.04235).
    square = np.square(given[TRUNK], dtype=np.float64)
    rows, columns = square.mean(2, keepdims=True), square.mean(1, keepdims=True)
    expected = given[TRUNK] / np.sqrt(rows * columns / square.mean((1, 2), keepdims=True))
    expected /= max(1, np.sqrt(np.square(expected).mean()))
    np.testing.assert_allclose(updates[TRUNK], -0.1 * expected, rtol=1e-3, atol=1e-6)
