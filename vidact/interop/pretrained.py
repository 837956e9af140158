"""What a new run starts from: an imported video branch, or an earlier run.

Each device reads only its part.
"""

import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import ml_collections
import numpy as np

from vidact import store
from vidact.encoders.video import linear
from vidact.errors import UserError
from vidact.models import registry
from vidact.nn import flat, lora
from vidact.training import checkpoints, prepare, runs

VIDEO = "opensora-stdit3"
# What an earlier run need not have had, beside LoRA factors.
FRESH = ("refiner/",)


def start(config: ml_collections.ConfigDict) -> prepare.Start:
    """What `config.train.pretrained` names: imported weights, or a work directory.

    A run that starts from another keeps its codec, and on the same data set its statistics.

    Raises:
      UserError: the folder is neither, or does not fit.
    """
    folder = pathlib.Path(config.train.pretrained)
    if not (folder / runs.CONFIG).is_file():
        return prepare.Start(functools.partial(video_branch, folder))
    old = runs.read_config(folder)
    difference = runs.first_difference(old.encoder.to_dict(), config.encoder.to_dict())
    if difference and config.encoder.kind == "linear":
        raise UserError(
            f"config.train.pretrained={folder}: was trained with another encoder: "
            f"{difference.replace('config.', 'config.encoder.', 1)}; use its values"
        )
    fingerprint, _ = runs.read_data_set(folder)
    return prepare.Start(
        functools.partial(run_parameters, folder),
        linear.load(folder / runs.CODEC) if config.encoder.kind == "linear" else None,
        {fingerprint: runs.read_statistics(folder)},
    )


def run_parameters(
    folder: str | pathlib.Path, fresh: Mapping[str, jax.Array]
) -> dict[str, jax.Array]:
    """The inference parameters of a run's newest checkpoint; refiner or LoRA may be missing there.

    Args:
      folder: the work directory.
      fresh: the new state's parameters by path, whose shardings and dtypes the result takes.

    Raises:
      UserError: the run has other parameters or no checkpoint.
    """
    folder = pathlib.Path(folder)
    shapes = flat.blueprint(registry.maker(runs.read_config(folder))).shapes
    new = {k for k in fresh if k.startswith(FRESH) or lora.is_factor(k)} - shapes.keys()
    known = {k: v for k, v in fresh.items() if k not in new}
    store.check_names(
        {path: leaf.shape for path, leaf in shapes.items()},
        {path: value.shape for path, value in known.items()},
    )
    wanted = {
        path: jax.ShapeDtypeStruct(v.shape, v.dtype, sharding=v.sharding)
        for path, v in known.items()
    }
    with checkpoints.open_manager(folder, read_only=True) as manager:
        newest = manager.latest_step()
        if newest is None:
            raise UserError(f"{folder}: holds no checkpoint yet; train longer")
        return checkpoints.restore_parameters(manager, newest, wanted)


def video_branch(
    folder: str | pathlib.Path, fresh: Mapping[str, jax.Array]
) -> dict[str, jax.Array]:
    """STDiT3's weights for CoVAR's video branch and its null text, by path.

    Args:
      folder: what `vidact.interop.import_weights --from opensora-stdit3` wrote.
      fresh: the state's parameters by path, whose shardings and dtypes the result takes.

    Raises:
      UserError: the folder holds another network, or one of other sizes.
    """
    folder = pathlib.Path(folder)
    kind = store.read_description(folder)["network"]
    if kind != VIDEO:
        raise UserError(f"{folder}: holds {kind}; the video branch starts from {VIDEO}")
    branch = {k: v for k, v in fresh.items() if k.startswith("video/") or k == "y_embedding"}
    wanted = {k: v for k, v in branch.items() if not lora.is_factor(k)}
    with store.reader(folder) as found:
        store.check_names(found.shapes, {path: value.shape for path, value in wanted.items()})

        def read(path: str, value: jax.Array) -> jax.Array:
            def part(index: Any) -> np.ndarray:
                return found.part(path, index).astype(value.dtype)

            return jax.make_array_from_callback(value.shape, value.sharding, part)

        return {path: read(path, value) for path, value in wanted.items()}
