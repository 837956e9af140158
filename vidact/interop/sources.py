"""Weights that a run can start from: four kinds of folder, read alike.

Each device reads only its part, but of an exported folder, which is small.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import ml_collections
import numpy as np
from flax import nnx

from vidact import store
from vidact.encoders.video import linear
from vidact.errors import UserError
from vidact.interop import keys, names
from vidact.models.covar.config import CoVARConfig
from vidact.models.covar.model import CoVAR
from vidact.nn import flat
from vidact.nn.lora import is_factor
from vidact.robot import config as robot_config
from vidact.store import Shape
from vidact.training import checkpoints, runs

VIDEO = "opensora-stdit3"
EXPORTED = ("model.safetensors", "codec.safetensors")  # beside its config.json


@dataclasses.dataclass(frozen=True)
class Source:
    """Weights and what belongs to them.

    Attributes:
      folder: where they lie.
      shapes: of the parameters by path.
      read: from a new state's parameters by path to these, with its shardings and dtypes.
      may_lack: whether a path may be missing.
      config: that it was trained with, if it is a run.
      codec: the fitted codec, if there is one.
      statistics: by the fingerprint of all data those that it was trained with, by data set.
      encoders: identities of published encoders, see `runs.encoders_of`.
    """

    folder: pathlib.Path
    shapes: Mapping[str, Shape]
    read: Callable[[Mapping[str, jax.Array]], dict[str, jax.Array]]
    may_lack: Callable[[str], bool]
    config: ml_collections.ConfigDict | None = None
    codec: linear.LinearCodec | None = None
    statistics: Mapping[str, Mapping[str, runs.SetStatistics]] = dataclasses.field(
        default_factory=dict
    )
    encoders: Mapping[str, str] = dataclasses.field(default_factory=dict)


def open_source(folder: pathlib.Path) -> Source:
    """A run's newest checkpoint, one checkpoint, an exported folder, or imported weights.

    Raises:
      UserError: it is none of these, or damaged.
    """
    if (folder / store.DESCRIPTION).is_file():
        return imported(folder)
    if all((folder / name).is_file() for name in EXPORTED):
        return exported(folder)
    if (folder / runs.CONFIG).is_file() or checkpoints.is_one(folder):
        return of_run(folder)
    raise UserError(
        f"config.init_from={folder}: is no run, checkpoint, exported folder or imported weights; "
        "give one of these"
    )


def of_run(folder: pathlib.Path) -> Source:
    """A work directory's newest checkpoint, or one checkpoint's folder, wherever it was copied.

    Raises:
      UserError: it holds no checkpoint, or is damaged.
    """
    config, found = runs.read_config(folder), runs.find(folder)

    def read(wanted: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        shapes = {
            path: jax.ShapeDtypeStruct(v.shape, v.dtype, sharding=v.sharding)
            for path, v in wanted.items()
        }
        return checkpoints.restore_parameters(found, shapes)

    fingerprint, _ = runs.read_data_set(folder)
    return Source(
        folder=folder,
        shapes=checkpoints.parameter_shapes(found),
        read=read,
        may_lack=_trained_later,
        config=config,
        codec=linear.load(folder / runs.CODEC) if config.encoder.kind == "linear" else None,
        statistics={fingerprint: runs.read_statistics(folder)},
        encoders=runs.read_encoders(folder),
    )


def exported(folder: pathlib.Path) -> Source:
    """What `vidact.export` wrote for a robot.

    Raises:
      UserError: it is damaged.
    """
    sizes = dataclasses.asdict(robot_config.read(folder).model)
    plan = flat.blueprint(lambda: CoVAR(CoVARConfig(**sizes), rngs=nnx.Rngs(0)))
    shapes = {path: tuple(leaf.shape) for path, leaf in plan.shapes.items()}
    model, codec = (folder / name for name in EXPORTED)

    def read(wanted: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        with store.reader(model) as found:
            tensors = {name: found.get(name) for name in found.shapes}
        arrays = names.to_jax(keys.covar(sizes["patch"]), tensors, shapes)
        return {path: _laid_out(v, arrays[path].__getitem__) for path, v in wanted.items()}

    return Source(
        folder=folder,
        shapes=shapes,
        read=read,
        may_lack=_trained_later,
        codec=linear.load(codec),
    )


def imported(folder: pathlib.Path) -> Source:
    """STDiT3's weights for CoVAR's video branch and its null text, which lack all the rest.

    Raises:
      UserError: the folder holds another network, or is damaged.
    """
    kind = store.read_description(folder)["network"]
    if kind != VIDEO:
        raise UserError(f"{folder}: holds {kind}; the video branch starts from {VIDEO}")
    with store.reader(folder) as found:
        shapes = dict(found.shapes)

    def read(wanted: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        with store.reader(folder) as found:
            return {
                path: _laid_out(value, functools.partial(found.part, path))
                for path, value in wanted.items()
            }

    def may_lack(path: str) -> bool:
        return is_factor(path) or not (path.startswith("video/") or path == "y_embedding")

    return Source(folder=folder, shapes=shapes, read=read, may_lack=may_lack)


def _trained_later(path: str) -> bool:
    return is_factor(path) or path.startswith("refiner/")


def _laid_out(value: jax.Array, part: Callable[[Any], np.ndarray]) -> jax.Array:
    """An array with the sharding and dtype of another, from its parts."""
    return jax.make_array_from_callback(
        value.shape, value.sharding, lambda index: part(index).astype(value.dtype)
    )
