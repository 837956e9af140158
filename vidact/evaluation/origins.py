"""Where a report's figures come from: which checkpoint and data set, and which files."""

import pathlib
from collections.abc import Mapping
from typing import Any

from vidact.errors import UserError

Json = Mapping[str, Any]


def origin(measured: Json) -> str:
    """Checkpoint and data set of what `vidact.evaluate` or `vidact.sample` measured."""
    return f"step {measured['step']}, {measured['data_set']}"


def several(evaluation: Json | None, samples: Mapping[str, Json]) -> dict[str, str]:
    """What was measured -> its origin, where these differ; empty where all have the same."""
    found = {"evaluation": origin(evaluation)} if evaluation else {}
    found |= {f"{mode} samples": origin(facts) for mode, facts in samples.items()}
    return found if len(set(found.values())) > 1 else {}


def picture(workdir: pathlib.Path, name: str) -> bytes:
    """A WebP file that results name.

    Args:
      workdir: which must hold it: results may come from elsewhere, and reports are passed on.
      name: its path in there.

    Raises:
      UserError: it is missing, lies outside or is no WebP file.
    """
    path = workdir / name
    if not path.resolve().is_relative_to(workdir.resolve()):
        raise UserError(f"{name}: lies outside of {workdir}; sample or evaluate again")
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path}: missing; sample or evaluate again") from error
    if data[:4] + data[8:12] != b"RIFFWEBP":
        raise UserError(f"{path}: not a WebP file; sample or evaluate again")
    return data
