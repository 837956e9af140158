"""Which steps are skipped, decided on the device.

A step whose loss or gradient norm is not finite, or above `config.train.spike` times what is usual,
changes nothing but the step's number. OLMo-core's SkipStepOptimizer skips by the same two values,
against the last 128 steps' mean and deviation; two running means, as ZClip's (2504.02507), keep the
state small and ask for no sorting. Usual is the mean of the accepted steps: of all while they are
few, then exponentially forgetting. What was skipped does not move it: a run whose loss really
jumped stops (`config.train.stop_after_skipped`) rather than gets used to it.
"""

from typing import Any

import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

SETTLED = 50
"""Accepted steps before anything finite counts as a spike: a run begins with large changes."""
MEMORY = 100
"""Accepted steps after which the mean begins to forget."""


@flax.struct.dataclass
class Usual:
    """What accepted steps looked like; a part of the training state.

    Attributes:
      loss, gradient_norm: running means.
      accepted: how many steps they are over.
      in_a_row: how many were skipped since.
    """

    loss: Float[Array, ""] | Any
    gradient_norm: Float[Array, ""] | Any
    accepted: Int[Array, ""] | Any
    in_a_row: Int[Array, ""] | Any


def fresh() -> Usual:
    """Before the first step."""
    zero, none = jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32)
    return Usual(loss=zero, gradient_norm=zero, accepted=none, in_a_row=none)


def judge(
    usual: Usual, loss: Float[Array, ""], gradient_norm: Float[Array, ""], spike: float
) -> tuple[Bool[Array, ""], Usual]:
    """Whether a step is accepted, and what is usual after it.

    Args:
      usual: before the step.
      loss, gradient_norm: of the step.
      spike: how many times the mean is too much; 0 = only what is not finite.
    """
    largest = jnp.finfo(jnp.float32).max
    settled = usual.accepted >= SETTLED

    def fits(value: Array, mean: Array) -> Array:
        limit = jnp.where(settled, spike * mean, largest) if spike else largest
        return value <= limit  # false of what is not a number

    accepted = fits(loss, usual.loss) & fits(gradient_norm, usual.gradient_norm)
    share = 1.0 / jnp.minimum(usual.accepted + 1, MEMORY)

    def mean(old: Array, value: Array) -> Array:
        return jnp.where(accepted, old + share * (value - old), old)

    return accepted, Usual(
        loss=mean(usual.loss, loss),
        gradient_norm=mean(usual.gradient_norm, gradient_norm),
        accepted=usual.accepted + accepted,
        in_a_row=jnp.where(accepted, 0, usual.in_a_row + 1),
    )
