"""Rows of the tensors of a safetensors file, read without mapping it.

A mapped file counts as memory as far as it was ever read, and opening one lists all its tensors: of
many files with a few rows wanted of each, both cost more than the rows.
"""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator

import numpy as np
from jaxtyping import Shaped

from vidact import store
from vidact.errors import UserError

_DTYPES = {f"F{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)}
_DTYPES |= {f"I{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)}
_DTYPES |= {f"U{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)} | {"BOOL": "?"}


class TensorFile:
    """Where the tensors of a file lie.

    Attributes:
      path: the file.
      shapes: of every tensor, by name.
    """

    def __init__(self, path: pathlib.Path):
        """Raises: UserError: the file is missing, damaged, or holds tensors of unknown types."""
        with store.reader(path) as reader:  # safetensors itself checks sizes and places
            self.shapes = reader.shapes
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            told = json.loads(file.read(size))
        told.pop("__metadata__", None)
        for name, tensor in told.items():
            if tensor["dtype"] not in _DTYPES:
                raise UserError(f"{path}: {name} is {tensor['dtype']}; write the file again")
        self.path = path
        self._dtypes = {name: np.dtype(_DTYPES[tensor["dtype"]]) for name, tensor in told.items()}
        self._begins = {name: 8 + size + tensor["data_offsets"][0] for name, tensor in told.items()}
        self._strides = {
            name: int(np.prod(shape[1:])) * self._dtypes[name].itemsize
            for name, shape in self.shapes.items()
        }

    @contextlib.contextmanager
    def opened(self) -> Iterator["Rows"]:
        """For reading some rows."""
        with self.path.open("rb", buffering=0) as file:
            yield Rows(self, file.fileno())

    def read(self, file: int, name: str, begin: int, end: int) -> Shaped[np.ndarray, "n ..."]:
        """Rows begin <= row < end of a tensor; see `Rows`.

        Raises:
          UserError: there are no such rows, or the file ends before them.
        """
        if not 0 <= begin <= end <= self.shapes[name][0]:  # a damaged number leads anywhere
            raise UserError(f"{self.path}: no rows {begin} to {end} of {name}; copy it again")
        count, stride = end - begin, self._strides[name]
        data = os.pread(file, count * stride, self._begins[name] + begin * stride)
        if len(data) != count * stride:
            raise UserError(f"{self.path}: was cut short; copy it again")
        rows = np.frombuffer(bytearray(data), self._dtypes[name])
        return rows.reshape(count, *self.shapes[name][1:])


class Rows:
    """Rows of an open file."""

    def __init__(self, tensors: TensorFile, file: int):
        self._tensors, self._file = tensors, file

    def part(self, name: str, index: slice) -> Shaped[np.ndarray, "n ..."]:
        """Rows index.start <= row < index.stop."""
        return self._tensors.read(self._file, name, index.start, index.stop)
