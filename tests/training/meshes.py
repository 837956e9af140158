"""Meshes of the tests' virtual devices."""

import jax
import numpy as np

from vidact.training import sharding


def mesh(data: int, fsdp: int = 1, tensor: int = 1, context: int = 1) -> jax.sharding.Mesh:
    """The first data x fsdp x tensor x context devices, in order."""
    sides = (data, fsdp, tensor, context)
    devices = np.array(jax.devices()[: np.prod(sides)]).reshape(sides)
    return jax.sharding.Mesh(devices, sharding.AXES)
