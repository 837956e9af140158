"""Metrics: one line for people, JSON lines for programs, TensorBoard files without TensorFlow."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import tensorboardX
from tqdm import tqdm

METRICS = "metrics.jsonl"
BY_TIME = "loss by time/"
BY_DATA_SET = "loss by data set/"
DETAILS = (BY_TIME, BY_DATA_SET, "gradient_norm/")  # values too many for the line on the terminal


class Logger:
    """Writes to the terminal, workdir/metrics.jsonl and workdir/tensorboard."""

    def __init__(self, workdir: pathlib.Path):
        self._lines = (workdir / METRICS).open("a", buffering=1)
        self._board = tensorboardX.SummaryWriter(str(workdir / "tensorboard"))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Logs scalars at a step; one line on the terminal, without details."""
        self._lines.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self._board.add_scalar(name, value, step)
        self._board.flush()
        shown = [f"{k}: {v:.4g}" for k, v in values.items() if not k.startswith(DETAILS)]
        tqdm.write(f"step {step} " + " ".join(shown))

    def close(self) -> None:
        """Flushes and closes the files."""
        self._lines.close()
        self._board.close()


class Silent:
    """The `Logger` of processes that leave logging to the first."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


def read(workdir: str | pathlib.Path) -> list[dict[str, Any]]:
    """All logged lines, the last of a step counting where a resumed run wrote it again."""
    path = pathlib.Path(workdir) / METRICS
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    rows: dict[int, dict[str, Any]] = {}
    for line in lines:
        rows.setdefault(line["step"], {}).update(line)
    return [rows[step] for step in sorted(rows)]
