"""Orbax checkpoints: inference parameters, full state and a description, each an item."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging

from vidact.errors import UserError
from vidact.training.state import Parameters, TrainState, inference_parameters

FOLDER = "checkpoints"
# Replicas share the writing of larger arrays only: cutting each small one up compiles a program.
MIN_SLICE_BYTES = 2**20


def open_manager(
    workdir: pathlib.Path, *, keep: int = 2, every: int = 1, read_only: bool = False
) -> ocp.CheckpointManager:
    """A manager over workdir/checkpoints; half-written checkpoints are never listed."""
    _share_large_arrays_only()
    if read_only:  # Orbax warns about any other values
        options = ocp.CheckpointManagerOptions(read_only=True, save_interval_steps=0, create=False)
    else:
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, save_interval_steps=every)
    return ocp.CheckpointManager((workdir / FOLDER).absolute(), options=options)


def save(manager: ocp.CheckpointManager, state: TrainState, meta: dict[str, Any]) -> None:
    """Begins to save the state of meta["step"]; the writing goes on in the background."""
    items = ocp.args.Composite(
        params=ocp.args.StandardSave(inference_parameters(state)),
        state=ocp.args.StandardSave(_training_only(state)),
        meta=ocp.args.JsonSave(meta),
    )
    manager.save(meta["step"], args=items, force=True)  # whether it is due is asked before


def restore_state(manager: ocp.CheckpointManager, step: int, target: TrainState) -> TrainState:
    """The full state, laid out as `target` (arrays or shapes with shardings) says.

    Raises:
      UserError: the checkpoint is damaged or holds another state.
    """
    as_shape = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), target
    )
    items = ocp.args.Composite(state=ocp.args.StandardRestore(_training_only(as_shape)))
    return dataclasses.replace(target, **_restore(manager, step, items).state)


def restore_parameters(
    manager: ocp.CheckpointManager, step: int, shapes: Mapping[str, jax.ShapeDtypeStruct]
) -> Parameters:
    """The inference parameters alone.

    Raises:
      UserError: the checkpoint is damaged or holds other parameters than `shapes` names.
    """
    items = ocp.args.Composite(params=ocp.args.StandardRestore(shapes))
    return _restore(manager, step, items).params


def restore_meta(manager: ocp.CheckpointManager, step: int) -> dict[str, Any]:
    """What `save` was given as `meta`.

    Raises:
      UserError: the checkpoint is damaged.
    """
    return _restore(manager, step, ocp.args.Composite(meta=ocp.args.JsonRestore())).meta


def _restore(manager: ocp.CheckpointManager, step: int, items: ocp.args.Composite):
    try:
        return manager.restore(step, args=items)
    except (ValueError, KeyError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{manager.directory}/{step}: damaged, or of another configuration ({reason}); use "
            "the configuration that it was trained with, or remove that folder for an older one"
        ) from error


@functools.cache
def _share_large_arrays_only() -> None:
    handler = ocp.type_handlers.ArrayHandler(min_slice_bytes_for_replica_parallel=MIN_SLICE_BYTES)
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)  # Orbax warns that its own handler is replaced
    ocp.type_handlers.register_type_handler(jax.Array, handler, override=True)
    logging.set_verbosity(verbosity)


def _training_only(state: TrainState) -> dict[str, Any]:
    return {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
