"""Meshes of the tests' virtual devices, and arrays on them."""

import jax
import numpy as np

from vidact.training import sharding


def mesh(data: int, fsdp: int = 1, tensor: int = 1, context: int = 1) -> jax.sharding.Mesh:
    """The first data x fsdp x tensor x context devices, in order."""
    sides = (data, fsdp, tensor, context)
    devices = np.array(jax.devices()[: np.prod(sides)]).reshape(sides)
    return jax.sharding.Mesh(devices, sharding.AXES)


def flipped(value: jax.Array, device: int) -> jax.Array:
    """The same, the last bit of one value flipped in the copy that a device of some id holds."""
    parts = []
    for shard in value.addressable_shards:
        part = np.array(shard.data)
        if shard.device.id == device:
            part.view(np.uint8).reshape(-1)[-part.itemsize] ^= 1
        parts.append(jax.device_put(part, shard.device))
    return jax.make_array_from_single_device_arrays(value.shape, value.sharding, parts)
