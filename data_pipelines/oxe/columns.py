"""The registry's notation for columns of features: 'action[0:3] 0 observation/state[6]'."""

import functools
import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from data_pipelines.sources import checks
from vidact.errors import UserError

Features = Mapping[str, np.ndarray]

_TERM = re.compile(r"(?P<path>[^\[\]]+)\[(?P<start>\d+)(?::(?P<stop>\d+))?\]")
_CONSTANTS = ("0", "1")


class Term(NamedTuple):
    """Columns `start` to `stop` of one feature, or one constant column where there is no path."""

    path: str
    start: int
    stop: int

    @property
    def width(self) -> int:
        return self.stop - self.start if self.path else 1


@functools.cache
def parse(columns: str) -> tuple[Term, ...]:
    """'action[0:3] 0 observation/state[6]': slices, single columns and constant columns.

    Raises:
      ValueError: a term is none of these.
    """
    return tuple(map(_parse_term, columns.split()))


def _parse_term(text: str) -> Term:
    if text in _CONSTANTS:
        return Term("", int(text), 0)
    found = _TERM.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r}: want PATH[i], PATH[i:j], 0 or 1")
    start = int(found["start"])
    return Term(found["path"], start, int(found["stop"] or start + 1))


def width(columns: str) -> int:
    """Number of columns."""
    return sum(term.width for term in parse(columns))


def paths(columns: str) -> tuple[str, ...]:
    """Features that the columns come from, each once, in order."""
    return tuple(needed(columns))


def needed(columns: str) -> dict[str, int]:
    """How many columns each of these features has at least."""
    found: dict[str, int] = {}
    for term in parse(columns):
        if term.path:
            found[term.path] = max(found.get(term.path, 0), term.stop)
    return found


def gather(columns: str, features: Features, steps: int) -> Float[np.ndarray, "n k"]:
    """The columns of n steps as float32; a step's feature is made flat first.

    Raises:
      UserError: a feature is missing, of another length, has too few columns or a number that is
        not finite as float32.
    """
    return np.concatenate([_gather_term(term, features, steps) for term in parse(columns)], axis=1)


def _gather_term(term: Term, features: Features, steps: int) -> np.ndarray:
    if not term.path:
        return np.full((steps, 1), term.start, np.float32)
    if term.path not in features:
        raise UserError(f"no {term.path} among {', '.join(sorted(features))}; read it too")
    values = features[term.path]
    if len(values) != steps:
        raise UserError(f"{term.path} has {len(values)} steps where others have {steps}; mend it")
    flat = values.reshape(steps, int(np.prod(values.shape[1:])))
    if flat.shape[1] < term.stop:
        raise UserError(
            f"{term.path} has {flat.shape[1]} columns, {term.stop} are needed; mend the row"
        )
    return checks.as_float32(flat[:, term.start : term.stop], term.path)
