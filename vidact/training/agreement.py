"""Whether all processes train the same run on the same data, asked now and then."""

import hashlib
import json

import ml_collections
import numpy as np
from jax.experimental import multihost_utils

from data_pipelines.loading import WindowDataset
from vidact.errors import UserError
from vidact.training import runs


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
    everyone = np.asarray(multihost_utils.process_allgather(mine)).reshape(-1, *mine.shape)
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
        hashlib.sha256(json.dumps(runs.fixed(config), sort_keys=True).encode()).digest(),
        hashlib.sha256(order + drawn.whole.tobytes()).digest(),
        content.digest(),
    )
