"""How a chunk is sampled: the five modes, and the times that Euler steps visit.

The same as `vidact.processes.joint_time` for modalities that are denoised together.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Float

# Where each mode pins (video, action); None means: denoise from 1 to 0.
_PINNED: dict[str, tuple[float | None, float | None]] = {
    "joint": (None, None),
    "policy": (1.0, None),
    "video": (None, 1.0),
    "forward": (None, 0.0),
    "inverse": (0.0, None),
}
MODES = tuple(_PINNED)
ACTING = ("policy", "joint")  # from what a robot sees to actions


@dataclasses.dataclass(frozen=True)
class Request:
    """How to sample.

    Attributes:
      mode: one of MODES.
      steps: Euler steps, at least 1; the actions' too unless `action_steps` says else.
      action_steps: Euler steps of the actions, at least 1.
      video_guidance, action_guidance: classifier-free guidance scale per modality, finite; 1 = off.

    Raises:
      ValueError: a value is none of these.
    """

    mode: str = "joint"
    steps: int = 30
    action_steps: int | None = None
    video_guidance: float = 1.0
    action_guidance: float = 1.0

    def __post_init__(self):
        if self.mode not in MODES:
            raise ValueError(f"mode={self.mode!r}: choose one of {', '.join(MODES)}")
        for name in ("steps", "action_steps"):
            count = getattr(self, name)
            if count is not None and count < 1:
                raise ValueError(f"{name}={count}: at least one is needed")
        for name in ("video_guidance", "action_guidance"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name}={getattr(self, name)}: must be finite")

    @property
    def guided(self) -> bool:
        """Whether a modality is."""
        return not self.video_guidance == self.action_guidance == 1.0


def schedule(request: Request, shift: float) -> Float[np.ndarray, "steps_plus_1 2"]:
    """The times of a run: row i holds (t_video, t_action), the last row the end.

    There are as many rows as the modality with more steps asks for; the other waits in between.

    Args:
      request: its mode and steps are read.
      shift: r of the transform r t / (r t + 1 - t) of the video's times; 1 = none.
    """
    pins = _PINNED[request.mode]
    counts = (request.steps, request.action_steps or request.steps)
    rows = max(count for count, pin in zip(counts, pins, strict=True) if pin is None)
    columns = []
    for count, pin, ratio in zip(counts, pins, (shift, 1.0), strict=True):
        line = 1.0 - (np.arange(rows + 1) * count // rows) / count
        line = ratio * line / (ratio * line + (1 - line))
        columns.append(line if pin is None else np.full_like(line, pin))
    return np.stack(columns, axis=-1).astype(np.float32)
