"""Metrics: one line for people, JSON lines for programs, TensorBoard without TensorFlow, W&B."""

import importlib.util
import json
import pathlib
import secrets
from collections.abc import Mapping
from typing import Any

import ml_collections
import numpy as np
import tensorboardX
from PIL import Image
from tqdm import tqdm

from vidact.errors import UserError

METRICS = "metrics.jsonl"
WANDB = "wandb_id.txt"
BY_TIME = "loss by time/"
BY_DATA_SET = "loss by data set/"
HELD_OUT_BY_TIME = "held out by time/"
# Values too many for the line on the terminal.
DETAILS = (BY_TIME, BY_DATA_SET, HELD_OUT_BY_TIME, "gradient_norm/")


class Logger:
    """Writes to the terminal, workdir/metrics.jsonl, workdir/tensorboard and, if asked, W&B."""

    def __init__(self, workdir: pathlib.Path, config: ml_collections.ConfigDict | None = None):
        """Args: config: the whole configuration, whose config.train.wandb names a project.

        Raises:
          UserError: as `check`, or Weights & Biases cannot be reached.
        """
        self._lines = (workdir / METRICS).open("a", buffering=1)
        self._board = tensorboardX.SummaryWriter(str(workdir / "tensorboard"))
        self._wandb = _open_wandb(workdir, config) if config and config.train.wandb else None

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Logs scalars at a step; one line on the terminal, without details."""
        self._lines.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self._board.add_scalar(name, value, step)
        self._board.flush()
        if self._wandb:
            self._wandb.log({"step": step, **values})
        shown = [f"{k}: {v:.4g}" for k, v in values.items() if not k.startswith(DETAILS)]
        tqdm.write(f"step {step} " + " ".join(shown))

    def picture(self, step: int, name: str, path: pathlib.Path) -> None:
        """Shows a picture file, which stays where it is."""
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        self._board.add_image(name, pixels, step, dataformats="HWC")
        if self._wandb:
            import wandb

            self._wandb.log({"step": step, name: wandb.Image(pixels)})

    def close(self) -> None:
        """Flushes and closes the files."""
        self._lines.close()
        self._board.close()
        if self._wandb:
            self._wandb.finish()


def check(project: str) -> None:
    """Refuses config.train.wandb where Weights & Biases is not installed.

    Raises:
      UserError: always then.
    """
    if project and importlib.util.find_spec("wandb") is None:
        raise UserError(
            f"config.train.wandb={project!r}: wandb is not installed; pip install 'vidact[wandb]'"
        )


def _open_wandb(workdir: pathlib.Path, config: ml_collections.ConfigDict) -> Any:
    """The run that this work directory has there; a continued one goes on."""
    import wandb

    known = workdir / WANDB
    if not known.exists():
        known.write_text(secrets.token_hex(8))
    try:
        run = wandb.init(
            project=config.train.wandb,
            name=workdir.name,
            id=known.read_text().strip(),
            resume="allow",
            dir=str(workdir),
            config=json.loads(json.dumps(config.to_dict())),
            settings=wandb.Settings(silent=True),
        )
    except wandb.Error as error:
        raise UserError(
            f"config.train.wandb={config.train.wandb!r}: {' '.join(str(error).split())[:200]}; set "
            "WANDB_MODE=offline and `wandb sync` later"
        ) from error
    # Steps come again after a kill, which its own counter would refuse.
    run.define_metric("*", step_metric="step")
    return run


class Silent:
    """The `Logger` of processes that leave logging to the first."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Does nothing."""

    def picture(self, step: int, name: str, path: pathlib.Path) -> None:
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
