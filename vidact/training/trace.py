"""config.train.trace: every step's loss and what its batch held, exactly, to compare runs with."""

import hashlib
import json
import pathlib

import jax
import numpy as np
from jaxtyping import UInt8

from vidact.batch import Batch
from vidact.training import distributed

TRACE = "trace.jsonl"


def write(workdir: pathlib.Path, step: int, loss: jax.Array, batch: Batch) -> None:
    """Appends a line; all processes call it, the first writes.

    Args:
      workdir: of the run.
      step: which one, from 1.
      loss: a scalar, written as `float.hex` does.
      batch: this process's rows. The hash is of all processes' rows, in their order, and does not
        tell how many processes there were.
    """
    rows = distributed.gather(digests(batch))
    if not distributed.is_first():
        return
    line = {"step": step, "loss": float(loss).hex(), "batch": digest(rows)}
    with (workdir / TRACE).open("a") as file:
        file.write(json.dumps(line) + "\n")


def read(workdir: pathlib.Path) -> list[dict]:
    """All complete lines; steps that were run twice come twice."""
    lines = (workdir / TRACE).read_text().splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]


def digest(rows: UInt8[np.ndarray, "*b 32"]) -> str:
    """SHA-256 of a batch, from that of its rows."""
    return hashlib.sha256(rows.tobytes()).hexdigest()


def digests(batch: Batch) -> UInt8[np.ndarray, "b 32"]:
    """SHA-256 of each row of a batch, over the fields' names and values."""
    fields = sorted(batch.as_dict().items())
    found = []
    for row in range(len(fields[0][1])):
        digest = hashlib.sha256()
        for name, value in fields:
            digest.update(name.encode() + np.ascontiguousarray(value[row]).tobytes())
        found.append(np.frombuffer(digest.digest(), np.uint8))
    return np.stack(found)
