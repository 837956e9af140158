"""The learning rate's course, the clip, and what decays."""

import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from vidact.errors import UserError
from vidact.training import optimizer


def config(**changes):
    result = base.get_config().optimizer
    result.update(dict(learning_rate=0.1, warmup=10, final=0.2, **changes))
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


def test_only_matrices_decay():
    params = {"a/kernel": jnp.ones((2, 2)), "a/lora_b": jnp.ones((2, 2)), "a/bias": jnp.ones(2)}
    change = optimizer.make_optimizer(config(schedule="constant", weight_decay=0.5), 10)
    state = change.init(params)
    zero = {name: jnp.zeros_like(value) for name, value in params.items()}
    for _ in range(2):  # the rate of step 0 is 0
        updates, state = change.update(zero, state, params)
    assert (updates["a/kernel"] < 0).all() and (updates["a/lora_b"] < 0).all()
    assert not updates["a/bias"].any()
