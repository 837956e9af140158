"""Batches from this process's memory onto the mesh."""

from collections.abc import Iterator, Mapping

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from vidact.batch import Batch
from vidact.training.sharding import BATCH


def to_devices(batch: Batch, mesh: Mesh) -> Mapping[str, jax.Array]:
    """A global batch, split over all devices, from each process's own rows."""
    sharding = NamedSharding(mesh, BATCH)
    return {
        name: jax.make_array_from_process_local_data(sharding, np.asarray(value))
        for name, value in batch.as_dict().items()
    }


def prefetch(batches: Iterator[Batch], mesh: Mesh) -> Iterator[tuple[Batch, Mapping]]:
    """(host batch, device batch), one ahead of the step that uses it."""
    ahead = None
    for batch in batches:
        now, ahead = ahead, (batch, to_devices(batch, mesh))
        if now is not None:
            yield now
    if ahead is not None:
        yield ahead
