"""A NumPy-only leaf: normalising actions and states, its inverse, and interpolation in time."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from vidact import whole
from vidact.errors import UserError

METHODS = ("q01_q99", "mean_std", "min_max")

# A dimension is constant if its spread is float32's noise: at most this share of its magnitude,
CONSTANT_RELATIVE = 1e-6
# or at most this in the units of the data (a nanometre, a nanoradian), where it lies around zero.
CONSTANT_ABSOLUTE = 1e-9


@dataclasses.dataclass(frozen=True, kw_only=True)
class Statistics:
    """Statistics of D dimensions over `count` steps, in the units of the data.

    Attributes:
      q01, q99: 1 % and 99 % quantiles, linear as numpy's.
      mean, std: std is the population's (divided by count).
      min, max: extremes.
      count: number of steps, at least 1.
    """

    q01: Float[np.ndarray, " D"]
    q99: Float[np.ndarray, " D"]
    mean: Float[np.ndarray, " D"]
    std: Float[np.ndarray, " D"]
    min: Float[np.ndarray, " D"]
    max: Float[np.ndarray, " D"]
    count: int

    def take(self, columns: Sequence[int]) -> "Statistics":
        """Statistics of some of the dimensions, in that order."""
        arrays = {name: getattr(self, name)[list(columns)] for name in _ARRAYS}
        return Statistics(**arrays, count=self.count)

    def to_json(self) -> dict[str, Any]:
        """Lists of numbers that read back exactly."""
        arrays = {name: getattr(self, name).tolist() for name in _ARRAYS}
        return {**arrays, "count": self.count}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Statistics":
        """The inverse of `to_json`.

        Raises:
          KeyError: a field is missing.
          ValueError: a field is not a list of numbers or the lengths differ.
        """
        arrays = {name: np.asarray(value[name], np.float64) for name in _ARRAYS}
        shapes = {array.shape for array in arrays.values()}
        if len(shapes) != 1 or len(shapes.pop()) != 1:
            raise ValueError("fields of different lengths")
        return cls(**arrays, count=int(value["count"]))


_ARRAYS = ("q01", "q99", "mean", "std", "min", "max")


def measure(values: Float[np.ndarray, "N D"]) -> Statistics:
    """Statistics over N >= 1 finite rows, computed in float64.

    Raises:
      ValueError: no row, or not two axes.
    """
    if values.ndim != 2 or not len(values):
        raise ValueError(f"want at least one row of two axes, got shape {values.shape}")
    values = values.astype(np.float64)
    q01, q99 = np.quantile(values, [0.01, 0.99], axis=0)
    return Statistics(
        q01=q01,
        q99=q99,
        mean=values.mean(0),
        std=values.std(0),
        min=values.min(0),
        max=values.max(0),
        count=len(values),
    )


def save_statistics(path: str | pathlib.Path, statistics: Mapping[str, Statistics]) -> None:
    """Writes name -> statistics ('action', 'state') as JSON, whole or not at all."""
    text = json.dumps({name: value.to_json() for name, value in statistics.items()}, indent=1)
    whole.write(pathlib.Path(path), text + "\n")


def load_statistics(path: str | pathlib.Path) -> dict[str, Statistics]:
    """The inverse of `save_statistics`.

    Raises:
      UserError: the file is missing or not of this form.
    """
    remedy = "copy assets/statistics.json from the training's work directory"
    try:
        values = json.loads(pathlib.Path(path).read_text())
        return {name: Statistics.from_json(value) for name, value in values.items()}
    except FileNotFoundError:
        raise UserError(f"{path}: no such statistics file; {remedy}") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not a statistics file ({error!r}); {remedy}") from error


def normalise(
    values: Float[np.ndarray, "*N D"], statistics: Statistics, method: str = "q01_q99"
) -> Float[np.ndarray, "*N D"]:
    """Maps [q01, q99] or [min, max] to [-1, 1], or mean +- std to 0 +- 1; constants to 0.

    Nothing is clipped, so that `denormalise` is the exact inverse up to float32's rounding.

    Args:
      values: in the units of the data; any leading axes.
      statistics: of the D dimensions.
      method: one of METHODS. Where q01 = q99 but the extremes differ (a gripper that rarely
        moves), q01_q99 takes min and max for that dimension.

    Returns:
      float32, same shape, without unit.

    Raises:
      ValueError: D differs from the statistics'.
      UserError: unknown method.
    """
    centre, scale = _affine(values, statistics, method)
    safe = np.where(scale > 0, scale, 1.0)
    return np.where(scale > 0, (values - centre) / safe, 0.0).astype(np.float32)


def denormalise(
    values: Float[np.ndarray, "*N D"], statistics: Statistics, method: str = "q01_q99"
) -> Float[np.ndarray, "*N D"]:
    """The inverse of `normalise`; constant dimensions give their constant whatever comes in.

    Args, Raises: as `normalise`.

    Returns:
      float32, same shape, in the units of the data.
    """
    centre, scale = _affine(values, statistics, method)
    return (values * scale + centre).astype(np.float32)


def left_alone(statistics: Statistics, column: int) -> Statistics:
    """Statistics under which every method leaves one column as it is: a gripper of 0 and 1.

    Args:
      statistics: of D dimensions.
      column: 0 <= column < D.
    """
    plain = dict(q01=-1.0, q99=1.0, mean=0.0, std=1.0, min=-1.0, max=1.0)
    changed = {name: getattr(statistics, name).copy() for name in _ARRAYS}
    for name, value in plain.items():
        changed[name][column] = value
    return Statistics(**changed, count=statistics.count)


def _affine(values: np.ndarray, s: Statistics, method: str) -> tuple[np.ndarray, np.ndarray]:
    """Centre and scale, float64 [D]; scale 0 = constant."""
    if values.shape[-1:] != s.mean.shape:
        raise ValueError(f"values {values.shape} do not fit statistics of {len(s.mean)} dimensions")
    constant = _is_constant(s.min, s.max)
    if method == "mean_std":
        return np.where(constant, s.min, s.mean), np.where(constant, 0.0, s.std)
    if method == "min_max":
        low, high = s.min, s.max
    elif method == "q01_q99":
        narrow = _is_constant(s.q01, s.q99)
        low, high = np.where(narrow, s.min, s.q01), np.where(narrow, s.max, s.q99)
    else:
        raise UserError(f"normalisation {method!r}: unknown; choose from {', '.join(METHODS)}")
    return np.where(constant, s.min, (low + high) / 2), np.where(constant, 0.0, (high - low) / 2)


def _is_constant(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    magnitude = np.maximum(np.abs(low), np.abs(high))
    return high - low <= CONSTANT_RELATIVE * magnitude + CONSTANT_ABSOLUTE


def interpolate(
    actions: Float[np.ndarray, "Ta A"], from_hz: float, to_hz: float
) -> Float[np.ndarray, "N A"]:
    """Resamples a chunk linearly in time, for example from a policy's 20 Hz to a robot's 100 Hz.

    Meant for absolute targets and velocities; displacements per step would need rescaling.

    Args:
      actions: Ta >= 1 actions, action i at time i / from_hz.
      from_hz: rate of the chunk, > 0.
      to_hz: rate of the commands, > 0.

    Returns:
      float32, N = round(Ta * to_hz / from_hz) (at least 1) commands at times k / to_hz; those
      after the last action hold it, so that the chunk's whole duration is covered.

    Raises:
      ValueError: a rate that is not positive, or no action.
    """
    if not (0 < from_hz < math.inf and 0 < to_hz < math.inf):
        raise ValueError(f"rates must be positive: from {from_hz} Hz to {to_hz} Hz")
    if actions.ndim != 2 or not len(actions):
        raise ValueError(f"want at least one action of two axes, got shape {actions.shape}")
    count = max(1, round(len(actions) * to_hz / from_hz))
    at = np.arange(count) * (from_hz / to_hz)
    steps = np.arange(len(actions))
    columns = [np.interp(at, steps, column) for column in actions.T]
    return np.stack(columns, axis=-1).astype(np.float32)
