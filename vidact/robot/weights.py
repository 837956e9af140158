"""Weights from safetensors into modules: every tensor has its place, or nothing is loaded."""

import contextlib
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import safetensors
from torch import Tensor, nn

from vidact.errors import UserError
from vidact.robot.config import REMEDY


def load(module: nn.Module, path: pathlib.Path) -> None:
    """Fills `module` (which may be on the meta device) with the tensors of a file.

    Raises:
      UserError: the file is missing or damaged, or a tensor is missing, unknown or misshapen; all
        of these are named.
    """
    with _open(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    fill(module, tensors, str(path))


def fill(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Puts tensors in the places of a module's parameters and buffers.

    Raises:
      UserError: one is missing, unknown or misshapen; all of these are named, after `source`.
    """
    try:
        module.load_state_dict(tensors, strict=True, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{source}: not this model's weights: {reason}; {REMEDY}") from error
    module.eval().requires_grad_(False)


def metadata(path: pathlib.Path, names: Sequence[str]) -> list[int]:
    """Whole numbers that a file carries beside its tensors.

    Raises:
      UserError: the file is missing or damaged, or does not name them all.
    """
    with _open(path) as file:
        values = file.metadata() or {}
    try:
        return [int(values[name]) for name in names]
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}: no whole number {error} in its metadata; {REMEDY}") from error


@contextlib.contextmanager
def _open(path: pathlib.Path) -> Iterator[Any]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            yield file
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path}: no such file; {REMEDY}") from None
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: not a safetensors file ({error}); {REMEDY}") from error
