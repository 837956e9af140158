"""JSON files that describe data sets."""

import json
from collections.abc import Mapping
from typing import Any

from etils import epath

from vidact.errors import UserError

MAX_BYTES = 2**28
"""Largest file that is read."""


def read(path: epath.Path, lines: bool = False) -> list[dict[str, Any]]:
    """The JSON object of a file, or one of each of its lines.

    Raises:
      UserError: missing, too large or not such a file; names the line.
    """
    if not path.exists():
        raise UserError(f"{path}: missing; download the data set again")
    if path.stat().length > MAX_BYTES:
        raise UserError(f"{path}: larger than {MAX_BYTES} bytes, which no description is")
    found, number = [], 0
    try:
        text = path.read_text()
        for number, part in enumerate(text.splitlines() if lines else [text]):  # noqa: B007
            if part.strip() or not lines:
                found.append(_object(part))
    except (ValueError, RecursionError) as error:
        where = f"{path}: line {number + 1}" if lines else f"{path}"
        raise UserError(f"{where}: {error}; download the file again") from error
    return found


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return value


def whole(told: Mapping[str, Any], key: str, where: object, least: int = 1) -> int:
    """An integer of `least` to 2**31 - 1.

    Raises:
      UserError: it is missing or something else.
    """
    value = told.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**31:
        raise UserError(f"{where}: {key} is {value!r}, not an integer from {least} on; mend it")
    return value


def table(value: Any, key: str, path: epath.Path) -> dict[str, Any]:
    """A JSON object within another, empty where there is none.

    Raises:
      UserError: it is something else.
    """
    if not isinstance(value, dict | None):
        raise UserError(f"{path}: {key} is no table; download the file again")
    return value or {}
