"""The training state: flat dictionaries of arrays by parameter path."""

import dataclasses
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax import nnx

from vidact.errors import UserError
from vidact.nn import flat
from vidact.nn.flat import Parameters


@flax.struct.dataclass
class TrainState:
    """Everything that changes while training, plus what is frozen.

    Attributes:
      step: number of updates done, int32.
      params: trainable parameters by path, float32.
      frozen: the others by path: by `config.train.freeze`, and the model's buffers.
      ema: exponential moving average of `params`.
      opt_state: the optimizer's state over `params`.
    """

    step: Any
    params: Parameters
    frozen: Parameters
    ema: Parameters
    opt_state: Any


def split_frozen(
    all_parameters: Parameters, freeze: Sequence[str], buffers: Collection[str] = ()
) -> tuple[Parameters, Parameters]:
    """Trainable and frozen parameters.

    Args:
      all_parameters: by path.
      freeze: regular expressions of paths.
      buffers: paths that never train.
    """
    patterns = [re.compile(pattern) for pattern in freeze]
    frozen = {
        path: value
        for path, value in all_parameters.items()
        if path in buffers or any(pattern.search(path) for pattern in patterns)
    }
    return {k: v for k, v in all_parameters.items() if k not in frozen}, frozen


def check_freeze(shapes: Mapping[str, Any], freeze: Sequence[str]) -> None:
    """Refuses patterns that freeze nothing: a mistyped one would silently train everything.

    Raises:
      UserError: names the pattern.
    """
    for pattern in freeze:
        try:
            found = any(re.search(pattern, path) for path in shapes)
        except re.error as error:
            raise UserError(f"config.train.freeze: {pattern!r}: {error}; mend it") from error
        if not found:
            raise UserError(
                f"config.train.freeze: {pattern!r} matches no parameter; they are named like "
                f"{next(iter(shapes))}"
            )


def create(
    make: Callable[[], nnx.Module], freeze: Sequence[str], optimizer: optax.GradientTransformation
) -> TrainState:
    """A fresh state; call it under jit, or eval_shape, never eagerly."""
    model = make()
    params, frozen = split_frozen(flat.parameters(model), freeze, flat.buffers(nnx.state(model)))
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        frozen=frozen,
        ema=jax.tree.map(jnp.copy, params),
        opt_state=optimizer.init(params),
    )


def with_parameters(state: TrainState, parameters: Parameters) -> TrainState:
    """A new state that starts from some other parameters; the average starts there too."""
    trained = {k: v for k, v in parameters.items() if k in state.params}
    frozen = {k: v for k, v in parameters.items() if k in state.frozen}
    return dataclasses.replace(
        state,
        params={**state.params, **trained},
        ema={**state.ema, **jax.tree.map(jnp.copy, trained)},
        frozen={**state.frozen, **frozen},
    )


def inference_parameters(state: TrainState) -> Parameters:
    """What sampling uses and checkpoints keep apart: the average and the frozen parameters."""
    return {**state.ema, **state.frozen}
