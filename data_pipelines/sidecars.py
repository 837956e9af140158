"""Arrays that belong to windows and lie beside a data set: stored latents, coarse actions.

A sidecar is a number of safetensors files with the tensors `episodes` and `starts`, which name the
windows, and one tensor per field of `vidact.batch.Batch`, window by window. A row is read without
reading the rest.
"""

import contextlib
import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from data_pipelines.windows import Windows
from vidact import store
from vidact.errors import UserError

EPISODES, STARTS = "episodes", "starts"


class Sidecar:
    """Fields of windows by row.

    Attributes:
      windows: which windows there are, in order of rows.
      fields: names of the others.
    """

    def __init__(self, files: Sequence[pathlib.Path]):
        """Opens the files, which stay open; only the windows' names are read.

        Raises:
          UserError: a file is missing, damaged or no sidecar.
        """
        self._stack = contextlib.ExitStack()
        self._readers = [self._stack.enter_context(store.reader(path)) for path in files]
        parts = [_windows(path, r) for path, r in zip(files, self._readers, strict=True)]
        self.fields = _fields(files[0], self._readers[0])
        for path, reader in zip(files, self._readers, strict=True):
            if _fields(path, reader) != self.fields:
                raise UserError(f"{path}: has other fields than {files[0]}; write them again")
        self._ends = np.cumsum([len(part) for part in parts])
        self.windows = Windows(
            np.concatenate([part.episodes for part in parts]),
            np.concatenate([part.starts for part in parts]),
        )

    def rows(self, windows: Windows) -> Int[np.ndarray, " n"]:
        """The row of each window, -1 where it has none."""
        if not len(self.windows):
            return np.full(len(windows), -1)
        mine, order = _key(self.windows), np.argsort(_key(self.windows))
        wanted = _key(windows)
        at = order[np.minimum(np.searchsorted(mine, wanted, sorter=order), len(mine) - 1)]
        return np.where(mine[at] == wanted, at, -1)

    def read(self, rows: Int[np.ndarray, " b"]) -> dict[str, np.ndarray]:
        """The fields of some rows, floating-point ones as float32."""
        files = np.searchsorted(self._ends, rows, side="right")
        begins = np.concatenate([[0], self._ends])[files]
        found: dict[str, np.ndarray] = {}
        for name in self.fields:
            parts = [
                self._readers[file].part(name, int(row))
                for file, row in zip(files, rows - begins, strict=True)
            ]
            array = np.stack(parts)
            found[name] = array if array.dtype == bool else array.astype(np.float32)
        return found


def write(path: pathlib.Path, windows: Windows, fields: dict[str, np.ndarray]) -> None:
    """Writes one file of a sidecar, whole or not at all."""
    named = {EPISODES: windows.episodes.astype(np.int64), STARTS: windows.starts.astype(np.int64)}
    store.save(path, named | fields)


def _windows(path: pathlib.Path, reader: store.Reader) -> Windows:
    for name in (EPISODES, STARTS):
        if name not in reader.shapes:
            raise UserError(f"{path}: has no {name}; it is no sidecar of windows")
        if reader.dtypes[name] != "I64" or len(reader.shapes[name]) != 1:
            raise UserError(f"{path}: {name} is no list of integers; it is no sidecar of windows")
    if reader.shapes[EPISODES] != reader.shapes[STARTS]:
        raise UserError(f"{path}: {EPISODES} and {STARTS} differ; it is no sidecar of windows")
    return Windows(reader.get(EPISODES), reader.get(STARTS))


def _fields(path: pathlib.Path, reader: store.Reader) -> tuple[str, ...]:
    names = tuple(sorted(reader.shapes.keys() - {EPISODES, STARTS}))
    count = reader.shapes[STARTS][0]
    for name in names:
        if reader.shapes[name][:1] != (count,):
            raise UserError(f"{path}: {name} has not {count} rows; write it again")
    return names


def _key(windows: Windows) -> Int[np.ndarray, " n"]:
    """One number per window."""
    return windows.episodes * 2**32 + windows.starts
