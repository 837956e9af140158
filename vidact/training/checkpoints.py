"""Orbax checkpoints: each is complete, so that its folder can be copied away and used alone.

checkpoints/STEP/params    the inference parameters: the average and what is frozen
checkpoints/STEP/state     step, trained parameters and the optimizer's state
checkpoints/STEP/meta      step, configuration and version of the code, JSON
checkpoints/STEP/assets    statistics, fitted codec and the like, as in the work directory
checkpoints/STEP/metrics   the held-out loss, where `config.train.keep_best` asks for it
"""

import asyncio
import contextlib
import dataclasses
import functools
import pathlib
import shutil
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import ml_collections
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers as policies

from vidact.errors import UserError
from vidact.training import assets
from vidact.training.state import Parameters, TrainState, inference_parameters

FOLDER = "checkpoints"
HELD_OUT = "held out loss"
# Orbax writes it last.
MARKER = "commit_success.txt"
# Replicas share the writing of larger arrays only: cutting each small one up compiles a program.
MIN_SLICE_BYTES = 2**20
# Everything of the save is copied, and may be written.
_COPIED = threading.Event()


class _LaterPath(ocp.path.atomicity.AtomicRenameTemporaryPath):
    """A checkpoint's unfinished folder, made once `save` has copied everything.

    The threads that write wait for it. They are Python for the most part: beside them, copying
    takes twice as long, and training waits for that.
    """

    async def create(self) -> epath.Path:
        await asyncio.to_thread(_COPIED.wait)
        return await super().create()


def open_manager(workdir: pathlib.Path, train: ml_collections.ConfigDict) -> ocp.CheckpointManager:
    """A manager that writes workdir/checkpoints; what was never finished there is set aside.

    Args:
      workdir: holds `assets`, which every checkpoint gets a copy of.
      train: `config.train`: when to save, and which checkpoints are kept for how long.
    """
    _share_large_arrays_only()
    folder = (workdir / FOLDER).absolute()
    _set_aside(folder)
    options = ocp.CheckpointManagerOptions(
        save_interval_steps=train.checkpoint_every,
        preservation_policy=kept(train),
        best_fn=_held_out if train.keep_best else None,  # else it writes no metrics
        cleanup_tmp_directories=True,
        temporary_path_class=_LaterPath,
    )
    return ocp.CheckpointManager(folder, options=options)


def kept(train: ml_collections.ConfigDict) -> policies.AnyPreservationPolicy:
    """Which checkpoints stay: the newest, those of certain steps, and the best."""
    found: list[Any] = [policies.LatestN(train.keep)]
    if train.keep_every:
        found.append(policies.EveryNSteps(train.keep_every))
    if train.keep_best:
        best = policies.BestN(
            get_metric_fn=_held_out,
            reverse=True,  # the last ones stay
            n=train.keep_best,
            keep_checkpoints_without_metrics=False,
        )
        found.append(best)
    return policies.AnyPreservationPolicy(found)


def steps(workdir: pathlib.Path) -> list[int]:
    """Steps of the finished checkpoints in workdir/checkpoints, ascending."""
    folder = workdir / FOLDER
    if not folder.is_dir():
        return []
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit() and finished(p))


def is_one(folder: pathlib.Path) -> bool:
    """Whether a folder is a checkpoint, wherever it was copied to."""
    return (folder / "meta").is_dir()


def finished(folder: pathlib.Path) -> bool:
    """Whether a checkpoint was written to its end.

    Orbax renames a whole folder, which is one operation on a disk but not on every mounted bucket.
    """
    return (folder / MARKER).is_file()


def save(
    manager: ocp.CheckpointManager,
    state: TrainState,
    meta: dict[str, Any],
    held_out: float | None = None,
) -> None:
    """Begins to save the state of meta["step"]; the writing goes on in the background.

    Args:
      manager: of `open_manager`.
      state: may be given away to the next step at once.
      meta: "step", "config" and what else JSON can hold.
      held_out: the loss by which the best are kept, if it was measured.
    """
    items = ocp.args.Composite(
        params=ocp.args.StandardSave(inference_parameters(state)),
        state=ocp.args.StandardSave(_training_only(state)),
        meta=ocp.args.JsonSave(meta),
        assets=assets.Copy(pathlib.Path(manager.directory).parent / assets.FOLDER),
    )
    metrics = None if held_out is None else {HELD_OUT: held_out}
    manager.wait_until_finished()  # the last one may not have begun to write
    _COPIED.clear()
    try:
        # Whether it is due was asked before.
        manager.save(meta["step"], args=items, metrics=metrics, force=True)
    finally:
        _COPIED.set()


def restore_state(folder: pathlib.Path, target: TrainState) -> TrainState:
    """The full state of a checkpoint, laid out as `target` says.

    Args:
      folder: checkpoints/STEP.
      target: arrays, or shapes with shardings.

    Raises:
      UserError: the checkpoint is damaged or holds another state.
    """
    as_shape = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), target
    )
    items = ocp.args.Composite(
        params=ocp.args.StandardRestore(inference_parameters(as_shape)),
        state=ocp.args.StandardRestore(_training_only(as_shape)),
    )
    found = _restore(folder, ocp.CompositeCheckpointHandler(), items)
    ema, frozen = ({k: found.params[k] for k in part} for part in (target.ema, target.frozen))
    return dataclasses.replace(target, **found.state, ema=ema, frozen=frozen)


def restore_parameters(
    folder: pathlib.Path, wanted: Mapping[str, jax.ShapeDtypeStruct]
) -> Parameters:
    """Those inference parameters of a checkpoint that `wanted` names, with its dtypes.

    Args:
      folder: checkpoints/STEP.
      wanted: shapes with shardings by path.

    Raises:
      UserError: the checkpoint is damaged or holds other parameters.
    """
    how = ocp.checkpoint_utils.construct_restore_args(dict(wanted))
    args = ocp.args.PyTreeRestore(dict(wanted), restore_args=how, partial_restore=True)
    return _restore(folder, ocp.PyTreeCheckpointHandler(), args, "params")


def parameter_shapes(folder: pathlib.Path) -> dict[str, tuple[int, ...]]:
    """Shapes of a checkpoint's inference parameters by path.

    Raises:
      UserError: the checkpoint is damaged.
    """
    with _named(folder), ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        found = reader.metadata((folder / "params").absolute()).item_metadata
        return {path: tuple(leaf.shape) for path, leaf in found.tree.items()}


def restore_meta(folder: pathlib.Path) -> dict[str, Any]:
    """What `save` was given as `meta`.

    Raises:
      UserError: the checkpoint is damaged.
    """
    items = ocp.args.Composite(meta=ocp.args.JsonRestore())
    return _restore(folder, ocp.CompositeCheckpointHandler(), items).meta


def _restore(
    folder: pathlib.Path, handler: ocp.CheckpointHandler, args: Any, item: str = ""
) -> Any:
    with _named(folder), ocp.Checkpointer(handler) as reader:
        return reader.restore((folder / item).absolute(), args=args)


@contextlib.contextmanager
def _named(folder: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{folder}: damaged, or of another configuration ({reason}); use "
            "the configuration that it was trained with, or remove that folder for an older one"
        ) from error


def _set_aside(folder: pathlib.Path) -> None:
    """Renames what looks like a checkpoint but was never finished: Orbax would count it."""
    torn = [p for p in folder.glob("[0-9]*") if p.name.isdigit() and not finished(p)]
    if jax.process_index() == 0:
        for path in torn:
            aside = path.with_name(f"{path.name}.unfinished")
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
            print(f"{path}: was never finished; renamed to {aside.name}", flush=True)
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("unfinished checkpoints are set aside")


def _held_out(metrics: Mapping[str, float]) -> float:
    return metrics[HELD_OUT]


@functools.cache
def _share_large_arrays_only() -> None:
    handler = ocp.type_handlers.ArrayHandler(min_slice_bytes_for_replica_parallel=MIN_SLICE_BYTES)
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)  # Orbax warns that its own handler is replaced
    ocp.type_handlers.register_type_handler(jax.Array, handler, override=True)
    logging.set_verbosity(verbosity)


def _training_only(state: TrainState) -> dict[str, Any]:
    return {name: getattr(state, name) for name in ("step", "params", "opt_state", "usual")}
