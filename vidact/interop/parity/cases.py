"""One comparison, and how dumps are read."""

import json
import math
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from vidact import store
from vidact.errors import UserError


class Case(NamedTuple):
    """The largest absolute difference of one output.

    Attributes:
      name: what was compared.
      difference: infinite where a number is none.
      tolerance: what it may be.
    """

    name: str
    difference: float
    tolerance: float

    @property
    def over(self) -> float:
        """The difference in units of the tolerance."""
        return self.difference / self.tolerance


def compare(name: str, found: Any, wanted: Any, tolerance: float) -> Case:
    """A case from what vidact computed and what the reference did.

    Raises:
      UserError: the shapes differ.
    """
    found, wanted = np.asarray(found), np.asarray(wanted)
    if found.shape != wanted.shape:
        raise UserError(
            f"{name}: {found.shape} here and {wanted.shape} in the dump; make the dump again"
        )
    if not wanted.size:
        return Case(name, 0.0, tolerance)
    difference = float(np.abs(found.astype(np.float64) - wanted).max())
    return Case(name, difference if math.isfinite(difference) else math.inf, tolerance)


def arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of an npz file, pickles refused.

    Raises:
      UserError: it is missing or damaged.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; copy it from where the dump was made")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a whole npz file ({error}); copy it again") from error


def tensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file.

    Raises:
      UserError: it is missing or damaged.
    """
    with store.reader(path) as found:
        return {name: found.get(name) for name in found.shapes}


def settings(path: pathlib.Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
      UserError: it is missing or damaged.
    """
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); copy it again") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: holds no JSON object; copy it again")
    return found


def under(found: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): a for name, a in found.items() if name.startswith(prefix)}


def folders(names: Mapping[str, Any], suffix: str) -> list[str]:
    """What stands before `suffix` in the names that end with it, in order."""
    return [name.removesuffix(suffix) for name in names if name.endswith(suffix)]


def channels_last(x: np.ndarray) -> np.ndarray:
    """[B, C, ...] to [B, ..., C]."""
    return np.moveaxis(x, 1, -1)
