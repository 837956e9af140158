"""CSV files whose header names the columns and whose rows are the steps of an episode.

Columns x_0, x_1, ... are the array feature x; any other column is a number by its own name. The
column `instruction` is a text.
"""

import csv
import io
import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np
from etils import epath
from jaxtyping import Shaped

from data_pipelines.sources.recording import Feature
from vidact.errors import UserError

INSTRUCTION = "instruction"
MAX_BYTES = 2**28
"""Largest file that is read."""
_MEMBER = re.compile(r"(.+)_\d+")


class Column(NamedTuple):
    """Attributes: feature: what it is. places: which columns of the file it is made of."""

    feature: Feature
    places: tuple[int, ...]


def columns(path: epath.Path) -> dict[str, Column]:
    """The features that a file's header names.

    Raises:
      UserError: missing or damaged, a name is empty or doubled, or a number in x_0, x_1, ... lacks.
    """
    with path.open("rb") as file:
        header = _rows(path, file.readline(MAX_BYTES))[:1]
    names = [name.strip() for name in header[0]] if header else []
    if not all(names) or len(set(names)) != len(names) or not names:
        raise UserError(f"{path}: its header has no, empty or doubled names; mend its first line")
    found: dict[str, Column] = {}
    for place, name in enumerate(names):
        member = _MEMBER.fullmatch(name)
        if name == INSTRUCTION:
            found[name] = Column(Feature("text"), (place,))
        elif member is None:
            found[name] = Column(Feature("array"), (place,))
        elif member[1] not in found:
            found[member[1]] = _group(path, member[1], names)
    return found


def read(
    path: epath.Path, columns: Mapping[str, Column], wanted: Collection[str]
) -> dict[str, Shaped[np.ndarray, "n ..."]]:
    """Some features of all rows: float64 [n, ...], or texts as an object array [n].

    Raises:
      UserError: the file is damaged, a row has another number of columns, or a cell holds no finite
        number; names the step.
    """
    if path.stat().length > MAX_BYTES:
        raise UserError(f"{path}: larger than {MAX_BYTES} bytes; split the episode")
    header, *rows = _rows(path, path.read_bytes())
    for step, row in enumerate(rows):
        if len(row) != len(header):
            raise UserError(
                f"{path}: step {step} has {len(row)} columns where the header has {len(header)}; "
                "mend the row"
            )
    return {key: _feature(path, columns[key], header, rows) for key in wanted}


def _group(path: epath.Path, name: str, names: list[str]) -> Column:
    count = sum(re.fullmatch(rf"{re.escape(name)}_\d+", other) is not None for other in names)
    members = [f"{name}_{i}" for i in range(count)]
    lacking = [member for member in members if member not in names]
    if lacking or name in names:
        raise UserError(
            f"{path}: the {count} columns {name}_* are not just {name}_0 to {name}_{count - 1}; "
            "rename them"
        )
    return Column(Feature("array", (count,)), tuple(names.index(member) for member in members))


def _feature(
    path: epath.Path, column: Column, header: list[str], rows: list[list[str]]
) -> np.ndarray:
    if column.feature.kind == "text":
        return np.array([row[column.places[0]] for row in rows], object)
    values = np.empty((len(rows), len(column.places)))
    for i, place in enumerate(column.places):
        for step, row in enumerate(rows):
            values[step, i] = _number(row[place])
        if not np.isfinite(values[:, i]).all():
            step = int(np.isfinite(values[:, i]).argmin())
            raise UserError(
                f"{path}: {header[place]} at step {step} is {rows[step][place]!r}, not a finite "
                "number; mend or remove the episode"
            )
    return values.reshape(len(rows), *(size or 0 for size in column.feature.shape))


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return np.nan


def _rows(path: epath.Path, data: bytes) -> list[list[str]]:
    """The rows of a file, without empty lines."""
    try:
        text = io.StringIO(data.decode("utf-8-sig"), newline="")
        return [row for row in csv.reader(text, strict=True) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: no CSV file in UTF-8 ({error}); write it again") from error
