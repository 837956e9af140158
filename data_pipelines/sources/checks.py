"""What every source checks of what it has read."""

from collections.abc import Collection, Mapping

import numpy as np
from jaxtyping import Float32, Shaped

from data_pipelines.sources.packets import MAX_FPS
from data_pipelines.sources.recording import Feature
from vidact.errors import UserError


class NoSteps(UserError):
    """A recording is sound but empty."""


def check_finite(values: Shaped[np.ndarray, "n ..."], where: str) -> None:
    """Raises: UserError: floating-point values that are not finite; names the first."""
    if values.dtype.kind != "f":
        return
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        raise UserError(f"{where}{_told(values, bad[0])}; mend or remove the episode")


def as_float32(values: Shaped[np.ndarray, "n ..."], where: str) -> Float32[np.ndarray, "n ..."]:
    """Numbers of any type as float32.

    Raises:
      UserError: one is not finite, or beyond float32's range; names the first.
    """
    if values.dtype.kind != "f":
        return values.astype(np.float32)  # the largest integer is well within
    check_finite(values, where)
    with np.errstate(over="ignore"):
        narrowed = values.astype(np.float32)
    bad = np.argwhere(~np.isfinite(narrowed))
    if len(bad):
        told = _told(values, bad[0])
        raise UserError(f"{where}{told}, more than float32 holds; mend or remove the episode")
    return narrowed


def _told(values: np.ndarray, place: np.ndarray) -> str:
    """' at step 3, dimension 1 is nan'."""
    step, *rest = place.tolist()
    dimensions = "".join(f", dimension {i}" for i in rest)
    return f" at step {step}{dimensions} is {values[tuple(place)]}"


def check_rate(value: object, where: object) -> float:
    """A number of steps a second, above 0 and at most MAX_FPS.

    Raises:
      UserError: it is something else; begins with `where`.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < float(value) <= MAX_FPS:  # type: ignore[arg-type]
        raise UserError(f"{where}: fps is {value!r}, not a rate up to {MAX_FPS:g}; mend it")
    return float(value)  # type: ignore[arg-type]


def check_lengths(lengths: Mapping[str, int], where: str) -> int:
    """The number of steps, at least one, that all features of a recording agree on.

    Args:
      lengths: of what was read, by path; at least one.
      where: file and record.

    Raises:
      UserError: they do not agree.
      NoSteps: there are none.
    """
    first, *others = lengths
    steps = lengths[first]
    for path in others:
        if lengths[path] != steps:
            raise UserError(
                f"{where}: {path} has {lengths[path]} steps where {first} has {steps}; mend or "
                "remove the episode"
            )
    if not steps:
        raise NoSteps(f"{where}: an episode without steps; remove it")
    return steps


def check_known(features: Mapping[str, Feature], paths: Collection[str], name: str) -> None:
    """Raises: UserError: a data set has no such feature, or one that cannot be read."""
    for path in paths:
        if path not in features or features[path].kind == "other":
            known = ", ".join(k for k, f in features.items() if f.kind != "other")
            raise UserError(f"{name}: no feature {path} that can be read; there are {known}")
