"""Skipped steps as the host sees them, at the next log line: counted, and their batches kept."""

import json
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from data_pipelines.loading import WindowDataset
from vidact import whole
from vidact.errors import UserError
from vidact.training.step import Metrics

FOLDER = "skipped"
KEPT = 20
"""Batches of a run; of further steps only what is known about them is written."""


def notice(
    rows: Sequence[Metrics],
    last: int,
    dataset: WindowDataset,
    batch_of: Callable[[int], int],
    workdir: pathlib.Path,
    spike: float,
) -> None:
    """Writes down which of some steps were skipped.

    Each gets workdir/skipped/STEP.json, and STEP.npz with the arrays of its batch.

    Args:
      rows: what consecutive steps returned, on the host.
      last: number of the last of them.
      dataset: what the batches are made from again.
      batch_of: from a step's number to its batch's.
      workdir: of the run.
      spike: config.train.spike.
    """
    for number, row in enumerate(rows, last - len(rows) + 1):
        if row["skipped"]:
            facts = {
                "step": number,
                "why": reasons(row, spike),
                "loss": str(row["loss"]),
                "gradient_norm": str(row["gradient_norm"]),
            }
            _keep(facts, batch_of(number), dataset, workdir / FOLDER)


def check(rows: Sequence[Metrics], last: int, most: int, workdir: pathlib.Path) -> None:
    """Stops a run that does nothing but skip.

    Args:
      rows, last, workdir: as in `notice`.
      most: config.train.stop_after_skipped.

    Raises:
      UserError: `most` steps in a row were skipped.
    """
    for number, row in enumerate(rows, last - len(rows) + 1):
        if row["in_a_row"] >= most:
            raise UserError(
                f"step {number}: {most} steps in a row were skipped, here loss {row['loss']:.4g} "
                f"and gradient norm {row['gradient_norm']:.4g}; look at {workdir / FOLDER}, lower "
                "config.optimizer.learning_rate and continue from the last checkpoint"
            )


def reasons(row: Metrics, spike: float) -> list[str]:
    """Why a step was skipped: a line for its loss, its gradient norm, or both."""
    found = []
    for name in ("loss", "gradient_norm"):
        value, usual = float(row[name]), float(row["usual"][name])
        if not math.isfinite(value):
            found.append(f"{name} is not finite")
        elif spike and value > spike * usual:
            found.append(f"{name} {value:.4g} is above {spike:g} times the usual {usual:.4g}")
    return found


def _keep(facts: dict[str, Any], number: int, dataset: WindowDataset, folder: pathlib.Path) -> None:
    drawn = dataset.order[number]
    windows = dataset.windows.at(drawn.whole)
    facts |= {
        "seed": dataset.seed,
        "batch": number,
        "windows": drawn.whole.tolist(),
        "episodes": windows.episodes.tolist(),
        "starts": windows.starts.tolist(),
    }
    text = json.dumps(facts, indent=1) + "\n"
    arrays, told = (folder / f"{facts['step']}{suffix}" for suffix in (".npz", ".json"))
    if arrays.exists() or len(list(folder.glob("*.npz"))) < KEPT:
        batch: dict[str, Any] = dataset.whole_at(number).as_dict()
        with whole.replacing(arrays) as partial, partial.open("wb") as file:
            np.savez(file, **batch)
    whole.write(told, text)
