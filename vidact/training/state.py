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
from vidact.training import skipping

# What a name in `config.train.freeze` stands for: regular expressions of paths.
PRESETS: dict[str, tuple[str, ...]] = {
    # The video stream. Its LoRA factors, where there are any, go on training.
    "video-branch": (r"^video/(?!.*/lora_[ab]$)",),
    # All but the action stream with its decoder, and what the bridges hold for it alone: its
    # projections into them and out. What both streams share of a bridge is frozen.
    "all-but-action": (r"^(?!action/|bridges/action[/_])",),
    "all-but-refiner": (r"^(?!refiner/)",),
}


@flax.struct.dataclass
class TrainState:
    """Everything that changes while training, plus what is frozen.

    Attributes:
      step: number of steps done, skipped ones too, int32.
      params: trainable parameters by path, float32.
      frozen: the others by path: by `config.train.freeze`, and the model's buffers; see `kept`.
      ema: exponential moving average of `params`.
      opt_state: the optimizer's state over `params`.
      usual: what a step is judged by, see `vidact.training.skipping`.
    """

    step: Any
    params: Parameters
    frozen: Parameters
    ema: Parameters
    opt_state: Any
    usual: skipping.Usual


def split_frozen(
    all_parameters: Parameters, freeze: Sequence[str], buffers: Collection[str] = ()
) -> tuple[Parameters, Parameters]:
    """Trainable and frozen parameters.

    Args:
      all_parameters: by path.
      freeze: regular expressions of paths, or names of `PRESETS`.
      buffers: paths that never train.
    """
    patterns = [re.compile(p) for entry in freeze for p in PRESETS.get(entry, (entry,))]
    frozen = {
        path: value
        for path, value in all_parameters.items()
        if path in buffers or any(pattern.search(path) for pattern in patterns)
    }
    return {k: v for k, v in all_parameters.items() if k not in frozen}, frozen


def kept(frozen: Parameters, buffers: Collection[str], dtype: str) -> Parameters:
    """Frozen parameters as the state keeps them: kernels in `dtype`, the bulk of a model.

    Buffers, biases, norms and tables stay as they are.
    """
    return {
        path: value.astype(dtype) if path.endswith("/kernel") and path not in buffers else value
        for path, value in frozen.items()
    }


def check_freeze(
    shapes: Mapping[str, Any], freeze: Sequence[str], buffers: Collection[str] = ()
) -> None:
    """Refuses what freezes nothing (a mistyped entry would silently train everything) or all.

    Raises:
      UserError: names the entry.
    """
    for entry in freeze:
        try:
            found = split_frozen(dict(shapes), [entry])[1]
        except re.error as error:
            raise UserError(f"config.train.freeze: {entry!r}: {error}; mend it") from error
        if not found:
            raise UserError(
                f"config.train.freeze: {entry!r} matches no parameter; they are named like "
                f"{next(iter(shapes))}, and sets of them {', '.join(PRESETS)}"
            )
    if not split_frozen(dict(shapes), freeze, buffers)[0]:
        raise UserError(
            f"config.train.freeze={tuple(freeze)}: nothing is left to train; freeze less"
        )


def create(
    make: Callable[[], nnx.Module],
    freeze: Sequence[str],
    optimizer: optax.GradientTransformation,
    frozen_dtype: str = "float32",
) -> TrainState:
    """A fresh state; call it under jit, or eval_shape, never eagerly."""
    model = make()
    buffers = flat.buffers(nnx.state(model))
    params, frozen = split_frozen(flat.parameters(model), freeze, buffers)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        frozen=kept(frozen, buffers, frozen_dtype),
        ema=jax.tree.map(jnp.copy, params),
        opt_state=optimizer.init(params),
        usual=skipping.fresh(),
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
