"""A hash of the batches that all hosts together see."""

import hashlib
import itertools
from collections.abc import Callable

import numpy as np

from data_pipelines.loading import WindowDataset

# (process index, process count) -> that process's data set, opened anew.
Open = Callable[[int, int], WindowDataset]


def hash_batches(open_one: Open, count: int, hosts: int, resume_at: int | None = None) -> str:
    """SHA-256 of batches 0 .. count - 1, put together from the hosts' blocks.

    It covers the fields' names, dtypes, shapes and bytes, batch by batch.

    Args:
      open_one: opens the data set of one host.
      count: how many batches.
      hosts: how many processes the batches are made for.
      resume_at: 0 <= step <= count: there all data sets are opened anew and go on.
    """
    digest = hashlib.sha256()
    edges = [0, count] if resume_at is None else [0, resume_at, count]
    for begin, end in itertools.pairwise(edges):
        streams = [open_one(host, hosts).from_step(begin, end) for host in range(hosts)]
        for blocks in zip(*streams, strict=True):
            batches = [block.as_dict() for block in blocks]
            for name in batches[0]:
                array = np.concatenate([batch[name] for batch in batches])
                digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
                digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
