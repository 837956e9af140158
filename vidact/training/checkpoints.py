"""Orbax checkpoints: inference parameters, full state and a description, each an item."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp

from vidact.errors import UserError
from vidact.training.state import Parameters, TrainState, inference_parameters

FOLDER = "checkpoints"


def open_manager(
    workdir: pathlib.Path, *, keep: int = 2, every: int = 1, read_only: bool = False
) -> ocp.CheckpointManager:
    """A manager over workdir/checkpoints; half-written checkpoints are never listed."""
    if read_only:  # Orbax warns about any other values
        options = ocp.CheckpointManagerOptions(read_only=True, save_interval_steps=0, create=False)
    else:
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, save_interval_steps=every)
    return ocp.CheckpointManager((workdir / FOLDER).absolute(), options=options)


def save(
    manager: ocp.CheckpointManager, state: TrainState, meta: dict[str, Any], *, force: bool = False
) -> bool:
    """Saves if one is due; ask at every step, so that a preemption notice is heard."""
    step = meta["step"]
    if not force and not manager.should_save(step):
        return False
    items = ocp.args.Composite(
        params=ocp.args.StandardSave(inference_parameters(state)),
        state=ocp.args.StandardSave(_training_only(state)),
        meta=ocp.args.JsonSave(meta),
    )
    return manager.save(step, args=items, force=force)


def restore_state(manager: ocp.CheckpointManager, step: int, target: TrainState) -> TrainState:
    """The full state, laid out as `target` (arrays or shapes with shardings) says."""
    as_shape = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), target
    )
    items = ocp.args.Composite(state=ocp.args.StandardRestore(_training_only(as_shape)))
    state = manager.restore(step, args=items).state
    return dataclasses.replace(target, **state)


def restore_parameters(
    manager: ocp.CheckpointManager, step: int, shapes: Mapping[str, jax.ShapeDtypeStruct]
) -> Parameters:
    """The inference parameters alone.

    Raises:
      UserError: the checkpoint holds other parameters than `shapes` names.
    """
    items = ocp.args.Composite(params=ocp.args.StandardRestore(shapes))
    try:
        return manager.restore(step, args=items).params
    except (ValueError, KeyError, FileNotFoundError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{manager.directory}/{step}: does not fit this configuration ({reason}); "
            "use the configuration that it was trained with"
        ) from error


def _training_only(state: TrainState) -> dict[str, Any]:
    return {name: getattr(state, name) for name in ("step", "params", "frozen", "ema", "opt_state")}
