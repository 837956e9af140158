"""What a row of the registry says."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from data_pipelines.oxe import oddities
from data_pipelines.oxe.columns import needed, width

Fix = Callable[..., Float[np.ndarray, "n k"]]
Encoding = Literal["eef_delta", "eef_absolute", "joint_delta", "joint_absolute", "base"]
StateEncoding = Literal["euler", "quaternion", "joints", "base", "none"]


def fix_name(fix: Callable) -> str:
    """'reached_deltas(every=3)' for a partial, else the function's name."""
    if not isinstance(fix, functools.partial):
        return fix.__name__
    return f"{fix.func.__name__}({', '.join(f'{k}={v}' for k, v in fix.keywords.items())})"


def _told(value: Any) -> Any:
    """A field without what differs between processes: a function goes by its full name."""
    if isinstance(value, functools.partial):
        return ["partial", _told(value.func), list(value.args), sorted(value.keywords.items())]
    if callable(value):
        return f"{value.__module__}.{value.__qualname__}"
    return [_told(inner) for inner in value] if isinstance(value, tuple) else value


class Cameras(NamedTuple):
    """Paths of frames; "" where the data set has none of that kind."""

    primary: str = ""
    secondary: str = ""
    wrist: str = ""


class Motion(NamedTuple):
    """What the arm is told: an encoding, its columns and what they go through.

    Metres and radians unless the row's note says otherwise. For an end effector 6 columns come out:
    translation and roll, pitch, yaw.
    """

    encoding: Encoding
    columns: str
    fix: Fix | None = None


class Gripper(NamedTuple):
    """One column, what it means as stored, and the fixes, first one first, to 1 = open."""

    columns: str
    stored: str
    fixes: tuple[Fix, ...] = ()


class State(NamedTuple):
    """Proprioception: OpenVLA's 8 columns, a 0 where a robot has less; 14 for two arms.

    Attributes:
      encoding: euler is position, roll, pitch, yaw, 0, gripper; quaternion is position, quaternion,
        gripper; joints is 7 joints, gripper; base is x, y, 0, 0, 0, yaw, 0, 0. The gripper's column
        is as stored.
      columns: where they come from.
    """

    encoding: StateEncoding
    columns: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One data set.

    Attributes:
      name: TFDS's name; a folder of that name holds its versions.
      robot: its robot.
      hz: steps a second as stored; None where nobody says.
      cameras: paths of frames.
      motion, gripper, state: where the numbers come from. A row without a gripper has it among its
        motion's columns.
      text: path of the instruction.
      decode: what makes strings of it.
      uninformative: whether octo blanks the instruction because it says nothing of the task.
      drop_first, drop_last: numbers of steps left out at either end.
      every: each that many-th step is kept.
      compressed: features that may be stored as zlib-compressed bytes.
      note: where sources disagree or facts are no more than hints.
    """

    name: str
    robot: str
    hz: int | float | None
    cameras: Cameras
    motion: Motion
    gripper: Gripper | None
    state: State
    text: str = "language_instruction"
    decode: Callable[[Any], list[str]] = oddities.decode_text
    uninformative: bool = False
    drop_first: int = 0
    drop_last: int = 0
    every: int = 1
    compressed: tuple[str, ...] = ()
    note: str = ""

    @property
    def identity(self) -> str:
        """What is done to the data set, for hashes: the same in every process."""
        names = (field.name for field in dataclasses.fields(self) if field.name != "note")
        return repr([(name, _told(getattr(self, name))) for name in names])

    @property
    def arrays(self) -> tuple[str, ...]:
        """The numeric features that a source has to read; no others are looked at."""
        return tuple(self.widths)

    @property
    def widths(self) -> dict[str, int]:
        """How many columns each of these has at least."""
        gripper = self.gripper.columns if self.gripper else ""
        return needed(f"{self.motion.columns} {gripper} {self.state.columns}")

    @property
    def action_width(self) -> int:
        """Columns of the standard action: 7 for an end effector or a base."""
        if self.motion.encoding.startswith(("eef", "base")):
            return 7
        return width(self.motion.columns) + (self.gripper is not None)

    @property
    def rate(self) -> float | None:
        """Steps a second of what is kept."""
        return None if self.hz is None else self.hz / self.every

    @property
    def fixes(self) -> tuple[str, ...]:
        """Names of all that is done to the data set beside picking columns."""
        functions = [self.motion.fix] if self.motion.fix else []
        functions += self.gripper.fixes if self.gripper else ()
        names = [fix_name(fix) for fix in functions]
        if self.decode is not oddities.decode_text:
            names.append(fix_name(self.decode))
        names += ["inflate"] * bool(self.compressed)
        for what in ("drop_first", "drop_last"):
            if getattr(self, what):
                names.append(f"{what} {getattr(self, what)}")
        names += [f"every {self.every}"] * (self.every > 1)
        return tuple(names)
