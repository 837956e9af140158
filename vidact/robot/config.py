"""What a robot's folder says about its model: `config.json` next to the weights."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from vidact.actions import Statistics
from vidact.errors import UserError
from vidact.robot.sampling import ACTING, Request

REMEDY = "export it again with python -m vidact.export"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of a CoVAR model; the fields of `vidact.models.covar.config` that shape its maths.

    Attributes: see there.
    """

    depth: int
    video_width: int
    video_heads: int
    action_width: int
    action_heads: int
    bridge_width: int
    bridge_heads: int
    mlp_ratio: float
    patch: int
    latent_channels: int
    latent_frames: int
    action_dim: int
    state_dim: int
    text_width: int
    text_depth: int
    vocabulary: int
    max_words: int
    decoder_channels: tuple[int, ...]
    learn_sigma: bool
    time_shift: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class RobotConfig:
    """The contents of `config.json`.

    Attributes:
      model: sizes of the model.
      data_set: whose robot is meant; its actions and state are the first columns of the model's.
      fps: frames and actions a second.
      frames: T frames of a window; a chunk holds T - 1 actions.
      resolution: height and width of the frame in pixels, all cameras' tiles together.
      normalisation: a method of `vidact.actions`, for actions and state.
      statistics: "action" and "state" of the robot's columns, in robot units.
      sampling: as the policy was evaluated; its mode is one of `sampling.ACTING`.
      uses_text: whether it was trained with instructions; without, it is told nothing.
      source_step: training step of the weights.
    """

    model: Sizes
    data_set: str
    fps: float
    frames: int
    resolution: tuple[int, int]
    normalisation: str
    statistics: Mapping[str, Statistics]
    sampling: Request
    uses_text: bool
    source_step: int

    @property
    def latents(self) -> int:
        """Latent frames of a window: the first frame's, and one for each later group."""
        return 1 + (self.frames - 1) // self.model.latent_frames

    @property
    def actions(self) -> int:
        """Actions of a chunk."""
        return self.frames - 1

    def width(self, kind: str) -> int:
        """The robot's own columns of "action" or "state"."""
        return len(self.statistics[kind].mean)

    def to_json(self) -> dict[str, Any]:
        """Plain values that `from_json` reads back."""
        values = dataclasses.asdict(self)
        values["statistics"] = {k: v.to_json() for k, v in self.statistics.items()}
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "RobotConfig":
        """The inverse of `to_json`.

        Raises:
          TypeError: a key is missing or unknown.
          ValueError: a value is not of its form.
          KeyError: a statistic is missing.
        """
        values = dict(values)
        sizes = dict(values.pop("model"))
        sizes["decoder_channels"] = tuple(sizes["decoder_channels"])
        height, width = values.pop("resolution")
        statistics = {k: Statistics.from_json(v) for k, v in values.pop("statistics").items()}
        sampling = Request(**values.pop("sampling"))
        found = cls(
            model=Sizes(**sizes),
            resolution=(height, width),
            statistics=statistics,
            sampling=sampling,
            **values,
        )
        found._check()
        return found

    def _check(self) -> None:
        if missing := {"action", "state"} - self.statistics.keys():
            raise KeyError(*sorted(missing))
        if self.sampling.mode not in ACTING:
            raise ValueError(f"mode {self.sampling.mode!r} makes no actions")
        for kind, most in (("action", self.model.action_dim), ("state", self.model.state_dim)):
            if self.width(kind) > most:
                raise ValueError(f"{self.width(kind)} columns of {kind}, the model has {most}")


def read(folder: str | pathlib.Path) -> RobotConfig:
    """Reads `config.json` of an exported folder.

    Raises:
      UserError: it is missing, or a key is missing, unknown or not of its form.
    """
    path = pathlib.Path(folder) / "config.json"
    try:
        return RobotConfig.from_json(json.loads(path.read_text()))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path}: no such file; {REMEDY}") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not a robot's configuration ({reason}); {REMEDY}") from error
