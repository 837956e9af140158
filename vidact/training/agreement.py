"""Whether all processes train the same run on the same data, asked now and then."""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, UInt32

from data_pipelines.loading import WindowDataset
from vidact.errors import UserError
from vidact.training import distributed, settings
from vidact.training.state import TrainState


def check(config: ml_collections.ConfigDict, dataset: WindowDataset, step: int) -> None:
    """Compares what all processes have; every process calls it at the same step.

    Args:
      config: the experiment.
      dataset: the training windows.
      step: which batch to compare.

    Raises:
      UserError: names the processes that differ from the first, and in what.
    """
    mine = np.stack([np.frombuffer(part, np.uint8) for part in digests(config, dataset, step)])
    everyone = distributed.gather(mine)
    for number, name in enumerate(("configuration", "order of windows", "content of a window")):
        differ = np.flatnonzero((everyone[:, number] != everyone[0, number]).any(-1))
        if len(differ):
            raise UserError(
                f"step {step}: processes {', '.join(map(str, differ.tolist()))} have another "
                f"{name} than process 0; start all with the same configuration, code and data"
            )


def digests(
    config: ml_collections.ConfigDict, dataset: WindowDataset, step: int
) -> tuple[bytes, bytes, bytes]:
    """SHA-256 of the configuration, of batch `step` as a whole, and of its first window."""
    drawn = dataset.order[step]
    order = f"{dataset.source.fingerprint} {drawn.step} {drawn.bucket}".encode()
    content = hashlib.sha256()
    for name, value in sorted(dataset.load(drawn.whole[:1], drawn.bucket).as_dict().items()):
        content.update(name.encode() + np.ascontiguousarray(value).tobytes())
    return (
        hashlib.sha256(_settings(config).encode()).digest(),
        hashlib.sha256(order + drawn.whole.tobytes()).digest(),
        content.digest(),
    )


def _settings(config: ml_collections.ConfigDict) -> str:
    """What must not differ: what a continued run may not change, and the mesh, which it may."""
    return json.dumps({**settings.fixed(config), "mesh": config.mesh.to_dict()}, sort_keys=True)


def check_state(state: TrainState, step: int) -> None:
    """Compares the copies of all parameters and, where they train, of their averages.

    In the averages alone a last bit's difference would vanish, mostly.

    Args:
      state: of the run; every process calls it at the same step.
      step: for the message.

    Raises:
      UserError: as `check_parameters`.
    """
    averages = {f"the average of {path}": value for path, value in state.ema.items()}
    check_parameters({**state.params, **state.frozen, **averages}, step)


def check_parameters(parameters: Mapping[str, jax.Array], step: int) -> None:
    """Compares the copies of parameters, which must be the same to the bit.

    Every device hashes what it holds; only the hashes travel. Parts of which there is one copy are
    compared with nothing.

    Args:
      parameters: by path, all on one mesh; every process calls it at the same step.
      step: for the message.

    Raises:
      UserError: names the first such parameter, and the devices and processes.
    """
    shardings = [_named(value) for value in parameters.values()]
    mesh, specs = shardings[0].mesh, tuple(sharding.spec for sharding in shardings)
    hashes = jax.device_get(_hasher(mesh, specs)(list(parameters.values())))
    for column, (path, value) in enumerate(parameters.items()):
        copies: dict[str, tuple[jax.Device, int]] = {}
        part = shardings[column].devices_indices_map(value.shape)
        for device, found in zip(mesh.devices.ravel(), hashes[:, column].tolist(), strict=True):
            first, expected = copies.setdefault(str(part[device]), (device, found))
            if found != expected:
                raise UserError(
                    f"step {step}: {path} on device {device.id} of process {device.process_index} "
                    f"is not what device {first.id} of process {first.process_index} holds; one of "
                    "them computes wrongly: leave it out and go on from the last checkpoint"
                )


def _named(value: jax.Array) -> NamedSharding:
    assert isinstance(value.sharding, NamedSharding)
    return value.sharding


@functools.lru_cache(maxsize=2)
def _hasher(mesh: Mesh, specs: tuple[P, ...]) -> Callable[[list[jax.Array]], jax.Array]:
    """From arrays laid out by `specs` to each device's hashes [devices, arrays], on all devices."""

    def hashes(parts: list[jax.Array]) -> UInt32[Array, "1 arrays"]:
        return jnp.stack([_hash(part) for part in parts])[None]

    split = jax.shard_map(
        hashes, mesh=mesh, in_specs=(list(specs),), out_specs=P(mesh.axis_names), check_vma=False
    )
    return jax.jit(split, out_shardings=NamedSharding(mesh, P()))


def _hash(values: jax.Array) -> UInt32[Array, ""]:
    """The sum of all bits, weighted by odd numbers: whatever one value changes to, it differs."""
    width = jnp.dtype(f"uint{8 * min(values.dtype.itemsize, 4)}")
    bits = jax.lax.bitcast_convert_type(values, width).astype(jnp.uint32).ravel()
    places = jnp.arange(bits.size, dtype=jnp.uint32) * jnp.uint32(0x9E3779B1) * 2 + 1
    return (bits * places).sum(dtype=jnp.uint32)
