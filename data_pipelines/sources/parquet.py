"""Columns of Parquet files as arrays."""

import contextlib
import dataclasses
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from etils import epath
from jaxtyping import Shaped

from vidact.errors import UserError

MAX_ROWS = 2**24
"""Most rows that are read at once."""
MAX_VALUES = 2**28
"""Most numbers, texts and images in them together."""
_REMEDY = "download the file again"


@dataclasses.dataclass(frozen=True)
class Table:
    """Some rows of a file; `where` names it in every error."""

    where: str
    rows: pa.Table

    @classmethod
    def read(
        cls, path: epath.Path, columns: Collection[str], only: tuple[str, int] | None = None
    ) -> "Table":
        """Reads columns.

        Args:
          path: the file.
          columns: their names.
          only: a column of integers and its value in the rows wanted; groups of rows that are known
            to lack it are not read.

        Raises:
          UserError: missing, damaged, without one of the columns, or of too many rows or values.
        """
        names = list(dict.fromkeys([*columns, *(only or ())[:1]]))
        with _opened(path) as file:
            missing = sorted(set(names) - set(file.schema_arrow.names))
            if missing:
                known = ", ".join(file.schema_arrow.names)
                raise UserError(f"{path}: no column {missing[0]}, only {known}; {_REMEDY}")
            groups = _groups(file.metadata, only)
            count = sum(file.metadata.row_group(group).num_rows for group in groups)
            if count > MAX_ROWS:
                raise UserError(f"{path}: {count} rows at once; at most {MAX_ROWS} are read")
            held = _held(file.metadata, groups, names)
            if held > MAX_VALUES:
                raise UserError(f"{path}: {held} values at once; at most {MAX_VALUES} are read")
            # The columns whose names begin so come too. The pipeline has threads of its own.
            rows = file.read_row_groups(groups, names, use_threads=False).select(names)
            if only:
                rows = rows.filter(pc.field(only[0]) == only[1])
        return cls(f"{path}: {only[0]} {only[1]}" if only else str(path), rows)

    def __len__(self) -> int:
        return self.rows.num_rows

    def numbers(self, key: str, shape: Sequence[int]) -> Shaped[np.ndarray, "n ..."]:
        """A column of numbers, or of nested lists of them, [rows, *shape].

        Raises:
          UserError: it is of another shape or type, or whole numbers are missing.
        """
        values = self._column(key)
        for size in shape:
            if not _is_list(values.type):
                break
            if not pc.all(pc.equal(pc.list_value_length(values), size).fill_null(False)).as_py():
                raise self._error(key, f"lists of other lengths than {size}")
            values = values.flatten()
        array = values.to_numpy(zero_copy_only=False)
        if array.dtype.kind not in "fiub" or array.size != len(self) * np.prod(shape):
            raise self._error(key, f"{values.type}, not numbers of shape {list(shape)}")
        return array.reshape(len(self), *shape)

    def texts(self, key: str) -> list[str]:
        """A column of texts. Raises: UserError: it is of another type, or one is missing."""
        return self._values(key, self._column(key), str, "a text")

    def files(self, key: str) -> list[bytes]:
        """A column of encoded images. Raises: UserError: they are not in the file."""
        values = self._column(key)
        if pa.types.is_struct(values.type) and values.type.get_field_index("bytes") >= 0:
            values = values.field("bytes")
        return self._values(key, values, bytes, "an image file")

    def _values(self, key: str, values: pa.Array, kind: type, what: str) -> list:
        try:
            found = values.to_pylist()
        except UnicodeDecodeError as error:
            raise self._error(key, f"a text not in UTF-8 ({error.reason})") from error
        if not all(isinstance(value, kind) for value in found):
            raise self._error(key, f"{values.type}, not {what} in every row")
        return found

    def _column(self, key: str) -> pa.Array:
        values = self.rows[key].combine_chunks()
        return values.storage if isinstance(values, pa.ExtensionArray) else values

    def _error(self, key: str, found: str) -> UserError:
        return UserError(f"{self.where}: {key} holds {found}; {_REMEDY}")


def names(path: epath.Path) -> list[str]:
    """The columns of a file. Raises: UserError: missing or damaged."""
    with _opened(path) as file:
        return file.schema_arrow.names


@contextlib.contextmanager
def _opened(path: epath.Path) -> Iterator[pq.ParquetFile]:
    try:
        with path.open("rb") as file, pq.ParquetFile(file) as parquet:
            yield parquet
    except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: names not in UTF-8
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path}: no sound Parquet file ({reason}); {_REMEDY}") from error


def _held(metadata: pq.FileMetaData, groups: Collection[int], names: Collection[str]) -> int:
    """How many values the groups state for columns whose names begin so."""
    paths = [metadata.schema.column(i).path for i in range(metadata.num_columns)]
    columns = [i for i, path in enumerate(paths) if path.startswith(tuple(names))]
    return sum(metadata.row_group(g).column(i).num_values for g in groups for i in columns)


def _groups(metadata: pq.FileMetaData, only: tuple[str, int] | None) -> list[int]:
    """The groups of rows that may hold what is wanted."""
    groups = list(range(metadata.num_row_groups))
    if only is None:
        return groups
    names = [metadata.schema.column(i).path for i in range(metadata.num_columns)]
    if only[0] not in names:
        return groups
    column = names.index(only[0])
    return [group for group in groups if _may_hold(metadata, group, column, only[1])]


def _may_hold(metadata: pq.FileMetaData, group: int, column: int, value: int) -> bool:
    told = metadata.row_group(group).column(column).statistics
    if told is None or not told.has_min_max or not isinstance(told.min, int):
        return True
    return told.min <= value <= told.max


def _is_list(kind: pa.DataType) -> bool:
    is_any = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_one(kind) for is_one in is_any)
