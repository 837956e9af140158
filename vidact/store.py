"""Weights on disk: safetensors in one file or in several with an index, read tensor by tensor."""

import contextlib
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from vidact import whole
from vidact.errors import UserError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
SHARD_BYTES = 2**30
DESCRIPTION = "network.json"
Shape = tuple[int, ...]
_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


class Reader:
    """The tensors of a file, a sharded index, or a folder that holds either.

    Only headers are read at first; `get` reads one tensor.

    Attributes:
      shapes: of every tensor, by name.
      dtypes: NumPy's name of every tensor's dtype.
    """

    def __init__(self, path: str | pathlib.Path, stack: contextlib.ExitStack):
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, str] = {}
        self._files: dict[str, Any] = {}
        for file in files_of(pathlib.Path(path)):
            self._open(file, stack)

    def get(self, name: str) -> np.ndarray:
        """One tensor, as stored."""
        return self._files[name].get_tensor(name)

    def part(self, name: str, index: Any) -> np.ndarray:
        """A part of a tensor; no more of it is read."""
        return self._files[name].get_slice(name)[index]

    def _open(self, path: pathlib.Path, stack: contextlib.ExitStack) -> None:
        try:
            file = stack.enter_context(safetensors.safe_open(path, framework="numpy"))
            for name in file.keys():  # noqa: SIM118
                if name in self._files:
                    raise UserError(f"{path}: {name} stands in another file too; keep one of them")
                part = file.get_slice(name)
                self.shapes[name] = tuple(part.get_shape())
                self.dtypes[name] = _DTYPES.get(part.get_dtype(), part.get_dtype())
                self._files[name] = file
        except (OSError, safetensors.SafetensorError) as error:
            raise UserError(f"{path}: not a whole safetensors file ({error}); copy it again") from (
                error
            )


@contextlib.contextmanager
def reader(path: str | pathlib.Path) -> Iterator[Reader]:
    """Opens weights for reading; see `Reader`.

    Raises:
      UserError: a file is missing or damaged.
    """
    with contextlib.ExitStack() as stack:
        yield Reader(path, stack)


def files_of(path: pathlib.Path) -> list[pathlib.Path]:
    """The safetensors files behind a path: itself, those of its index, or those in the folder.

    Raises:
      UserError: there are none, or the index is damaged or points out of its folder.
    """
    if path.is_dir():
        found = [path / name for name in (INDEX, SINGLE) if (path / name).is_file()]
        indices = sorted(path.glob("*.safetensors.index.json"))
        found = found or indices or sorted(path.glob("*.safetensors"))
        if not found:
            raise UserError(f"{path}: holds no .safetensors file; convert the weights first")
        if found[0].suffix == ".safetensors":
            return found[:1] if found[0].name == SINGLE else found
        path = found[0]
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a .safetensors file, its index or a folder")
    if path.suffix != ".json":
        return [path]
    try:
        names = sorted(set(json.loads(path.read_text())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not an index of safetensors files; copy it again") from error
    for name in names:
        if pathlib.PurePath(name).name != name:
            raise UserError(f"{path}: {name!r} points out of the folder; mend the index")
    return [path.parent / name for name in names]


class Writer:
    """Writes tensors one by one into files of about a gigabyte and an index at the end."""

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        self._waiting: dict[str, np.ndarray] = {}
        self._written: list[list[str]] = []
        self._bytes = 0

    def add(self, name: str, array: np.ndarray) -> None:
        """Takes a tensor; it may be kept in memory until the next file is full."""
        self._waiting[name] = np.ascontiguousarray(array)
        self._bytes += array.nbytes
        if self._bytes >= SHARD_BYTES:
            self._flush()

    def close(self) -> None:
        """Writes what is left, and the index."""
        self._flush()
        total = len(self._written)
        weight_map = {}
        for number, names in enumerate(self._written, start=1):
            called = f"model-{number:05d}-of-{total:05d}.safetensors"
            self._part(number).rename(self._folder / called)
            weight_map |= dict.fromkeys(names, called)
        index = {"metadata": {}, "weight_map": weight_map}
        (self._folder / INDEX).write_text(json.dumps(index, indent=1) + "\n")

    def _part(self, number: int) -> pathlib.Path:
        return self._folder / f"part-{number:05d}.safetensors"

    def _flush(self) -> None:
        if not self._waiting:
            return
        self._written.append(sorted(self._waiting))
        path = self._part(len(self._written))
        safetensors.numpy.save_file(self._waiting, path, metadata={"format": "pt"})
        path.chmod(0o644)  # safetensors lets nobody but the writer read
        self._waiting, self._bytes = {}, 0


def save(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes one safetensors file, whole or not at all."""
    given = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with whole.replacing(path) as partial:
        safetensors.numpy.save_file(given, partial, metadata={"format": "pt"})
        partial.chmod(0o644)  # safetensors lets nobody but the writer read


def check_dtypes(dtypes: Mapping[str, str], wanted: tuple[str, ...]) -> None:
    """Refuses tensors that are no floating-point weights.

    Raises:
      UserError: names the first tensor.
    """
    for name, dtype in dtypes.items():
        if dtype not in wanted:
            raise UserError(f"weights: {name} is {dtype}; choose weights in {', '.join(wanted)}")


def check_names(found: Mapping[str, Shape], expected: Mapping[str, Shape]) -> None:
    """Compares names and shapes.

    Raises:
      UserError: lists everything that is missing, unexpected or misshapen.
    """
    shapes = {n: (tuple(found[n]), tuple(expected[n])) for n in found.keys() & expected.keys()}
    complaints = {
        "missing": sorted(expected.keys() - found.keys()),
        "unexpected": sorted(found.keys() - expected.keys()),
        "misshapen": [
            f"{name} {has} instead of {wants}"
            for name, (has, wants) in sorted(shapes.items())
            if has != wants
        ],
    }
    told = [f"{what}: {', '.join(names)}" for what, names in complaints.items() if names]
    if told:
        raise UserError(f"weights: {'; '.join(told)}; take a file of a model of these sizes")


def read_description(folder: pathlib.Path) -> dict[str, Any]:
    """What an imported network's `network.json` says: network, sizes, tensors.

    Raises:
      UserError: it is missing or damaged.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        raise UserError(f"{path}: no such file; run python -m vidact.interop.import_weights first")
    try:
        found = json.loads(path.read_text())
        complete = found["network"] and found["sizes"] is not None and found["tensors"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}); import the weights again") from error
    if not complete:
        raise UserError(f"{path}: of another version of vidact; import the weights again")
    return found
