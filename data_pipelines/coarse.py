"""Coarse actions on disk: a sidecar of one file, and beside it in JSON what they were sampled from.

FILE       coarse, normalised actions by window (`data_pipelines.sidecars`)
FILE.json  fits: what training must agree with; sampled_by: checkpoint, step, mode, guidance, ...;
           bad_records; sha256 of FILE
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
from jaxtyping import Float
from numpy import ndarray

from data_pipelines import sidecars
from data_pipelines.sidecars import Sidecar
from data_pipelines.windows import Windows
from vidact import whole
from vidact.actions import Statistics
from vidact.errors import UserError

FIELD = "coarse"
# What of a configuration says which windows and which actions these are.
KEYS = {
    "data": (
        "split",
        "frames",
        "history",
        "fps",
        "registry",
        "action_key",
        "action_order",
        "gripper",
        "normalisation",
        "statistics",
    ),
    "encoder": ("stride",),
    "model": ("action_dim",),
}
_AGAIN = "write it again with python -m vidact.sample --write-coarse"


@dataclasses.dataclass(frozen=True)
class Coarse:
    """Coarse actions of some windows.

    Attributes:
      path: the sidecar's file.
      sidecar: the actions.
      fits: what training must agree with; see `settings` and `normalised_by`.
    """

    path: pathlib.Path
    sidecar: Sidecar
    fits: Mapping[str, Any]


def settings(config: ml_collections.ConfigDict, fingerprint: str) -> dict[str, Any]:
    """The data set's fingerprint and the keys of a configuration that must agree, as JSON."""
    named = {
        f"config.{section}.{key}": config[section][key]
        for section, keys in KEYS.items()
        for key in keys
    }
    return json.loads(json.dumps({"data_set": fingerprint, **named}))


def normalised_by(statistics: Sequence[Mapping[str, Statistics]]) -> dict[str, str]:
    """Names the statistics of actions, by data set, that coarse actions are normalised with."""
    told = json.dumps([found["action"].to_json() for found in statistics])
    return {"statistics": hashlib.sha256(told.encode()).hexdigest()}


def write(
    path: pathlib.Path,
    windows: Windows,
    actions: Float[ndarray, "N Ta A"],
    identity: Mapping[str, Mapping[str, Any]],
    bad_records: Sequence[str],
) -> None:
    """Writes both files, so that none is taken for another's at any moment.

    Args:
      path: FILE; what is there is replaced (see `check_free`).
      windows: which.
      actions: normalised.
      identity: fits and sampled_by.
      bad_records: why windows were left out, if any were.
    """
    with whole.replacing(path) as new:
        sidecars.write(new, windows, {FIELD: actions})
        told = {**identity, "bad_records": list(bad_records), "sha256": _hash(new)}
        whole.write(_beside(path), json.dumps(told, indent=1) + "\n")


def check_free(path: pathlib.Path, identity: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuses to replace coarse actions of other settings or of another checkpoint.

    Raises:
      UserError: names the first key that differs.
    """
    if not path.exists() and not _beside(path).exists():
        return
    told = _told(path)
    for part, values in identity.items():
        for key, now in json.loads(json.dumps(values)).items():
            if told[part].get(key) != now:
                raise UserError(
                    f"{path}: was sampled with {key}={told[part].get(key)!r}, now {now!r}; give "
                    "another file to --write-coarse, or remove this one"
                )


def read(path: pathlib.Path) -> Coarse:
    """Opens coarse actions.

    Raises:
      UserError: a file is missing or damaged, or they do not belong together.
    """
    sidecar, told = Sidecar([path]), _told(path)
    if told["sha256"] != _hash(path):
        raise UserError(f"{path}: not the file that {_beside(path).name} tells of; {_AGAIN}")
    return Coarse(path, sidecar, told["fits"])


def check(found: Coarse, now: Mapping[str, Any]) -> None:
    """Refuses what was sampled from other data, other windows or for other actions.

    Args:
      found: coarse actions.
      now: of `settings` or `normalised_by`.

    Raises:
      UserError: names the first key that differs.
    """
    for key in sorted(now):
        then = found.fits.get(key)
        if then == now[key]:
            continue
        if key.startswith("config."):
            raise UserError(
                f"{found.path}: was sampled with {key}={then!r}, now {now[key]!r}; use that value, "
                f"or {_AGAIN}"
            )
        raise UserError(
            f"{found.path}: was sampled with another {key} ({then}, now {now[key]}); train on the "
            f"same data with config.init_from=the run that sampled it, or {_AGAIN}"
        )


def _beside(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f"{path.name}.json")


def _told(path: pathlib.Path) -> dict[str, Any]:
    file = _beside(path)
    try:
        told = json.loads(file.read_text())
        dict(told["fits"]), dict(told["sampled_by"]), str(told["sha256"])
    except FileNotFoundError as error:
        raise UserError(
            f"{file}: no such file, so that nobody knows what {path.name} was sampled from; remove "
            f"that and {_AGAIN}"
        ) from error
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{file}: damaged ({error!r}); remove it and {_AGAIN}") from error
    return told


def _hash(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
