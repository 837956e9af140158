"""Exact statistics of any number of rows in bounded memory.

A float32's 32 bits, changed so that they sort as the numbers do, are its key; the keys lie in a
temporary file. Counts of their upper 16 bits, taken as rows come, say which of 65536 buckets holds
a quantile; one pass over the file counts the lower 16 bits within that bucket. Mean and deviation
are merged block by block in float64 (Chan, Golub and LeVeque, "Updating formulae and a pairwise
algorithm for computing sample variances", 1979).
"""

import tempfile
from collections.abc import Iterator
from typing import IO

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt32

from vidact.actions import Statistics
from vidact.errors import UserError

BYTES_PER_COLUMN, BYTES_BESIDE = 3 * 2**20, 4 * 2**20
"""Memory is at most D times the first and once the second, whatever the number of rows."""
_BLOCK = 2**16  # rows
_BITS = 16
_BUCKETS = 2**_BITS
_SIGN = np.uint32(1 << 31)
_QUANTILES = (0.01, 0.99)


class RunningStatistics:
    """Takes rows of D columns in any pieces.

    The temporary file has no name in its folder; it needs 4 D bytes a row until the end.

    Attributes:
      count: number of rows so far.
    """

    def __init__(self) -> None:
        self.count = 0
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._columns: list[_Column] = []
        self._waiting = np.empty((0, _BLOCK), np.float32)
        self._filled = 0

    def add(self, rows: Float32[np.ndarray, "n D"]) -> None:
        """Takes n >= 0 rows.

        Raises:
          ValueError: a number is not finite, or D differs from what came before.
          UserError: no room for the temporary file.
        """
        if not self._columns:
            self._columns = [_Column() for _ in range(rows.shape[1])]
            self._waiting = np.empty((rows.shape[1], _BLOCK), np.float32)
        if rows.shape[1] != len(self._columns):
            raise ValueError(f"rows of {rows.shape[1]} columns after {len(self._columns)}")
        while len(rows):
            part, rows = np.split(rows, [_BLOCK - self._filled])
            self._check_finite(part)
            self._waiting[:, self._filled : self._filled + len(part)] = part.T
            self._filled += len(part)
            self.count += len(part)
            if self._filled == _BLOCK:
                self._take()

    def finish(self) -> Statistics:
        """Statistics of all rows; to be called once. Quantiles are numpy's linear ones.

        Raises:
          ValueError: no row was added.
          UserError: no room for the temporary file.
        """
        if not self.count:
            raise ValueError("no row to take statistics of")
        if self._filled:
            self._take()
        below = [int(quantile * (self.count - 1)) for quantile in _QUANTILES]
        above = [min(rank + 1, self.count - 1) for rank in below]
        low, high = np.split(self._select(np.array(below + above)), 2)
        self._file.close()
        share = np.array(_QUANTILES) * (self.count - 1) - below
        q01, q99 = low + (high - low) * share[:, None]
        return Statistics(
            q01=q01,
            q99=q99,
            mean=np.array([column.mean for column in self._columns]),
            std=np.array([(column.squares / self.count) ** 0.5 for column in self._columns]),
            min=np.array([column.min for column in self._columns]),
            max=np.array([column.max for column in self._columns]),
            count=self.count,
        )

    def _check_finite(self, rows: np.ndarray) -> None:
        bad = np.argwhere(~np.isfinite(rows))
        if len(bad):
            row, column = bad[0]
            raise ValueError(f"row {self.count + row}, column {column} is {rows[row, column]}")

    def _take(self) -> None:
        """Counts the waiting rows and moves their keys to the file, column after column."""
        block = self._waiting[:, : self._filled]
        try:
            for column, values in zip(self._columns, block):
                self._file.write(column.take(values).data)
            self._file.flush()
        except OSError as error:
            raise UserError(
                f"{tempfile.gettempdir()}: {error.strerror} while statistics were taken; set "
                "TMPDIR to a folder with room"
            ) from error
        self._filled = 0

    def _select(self, ranks: Int64[np.ndarray, " R"]) -> Float64[np.ndarray, "R D"]:
        """The numbers that stand at `ranks` of each column when it is sorted."""
        places = [_locate(column.upper, ranks) for column in self._columns]
        lower = [{b: np.zeros(_BUCKETS, np.int64) for b in buckets} for buckets, _ in places]
        for number, keys in self._stored():
            for bucket, counts in lower[number].items():
                within = keys[keys >> _BITS == bucket] & (_BUCKETS - 1)
                counts += np.bincount(within, minlength=_BUCKETS)
        found = np.empty((len(ranks), len(places)))
        for number, (buckets, left) in enumerate(places):
            for at, bucket in enumerate(buckets):
                bits, _ = _locate(lower[number][bucket], left[at : at + 1])
                found[at, number] = _number(bucket << _BITS | bits)[0]
        return found

    def _stored(self) -> Iterator[tuple[int, UInt32[np.ndarray, " n"]]]:
        """Number of a column and its keys, block by block as they were written."""
        self._file.seek(0)
        for done in range(0, self.count, _BLOCK):
            rows = min(_BLOCK, self.count - done)
            for number in range(len(self._columns)):
                yield number, np.frombuffer(self._file.read(rows * _SIGN.nbytes), np.uint32)


class _Column:
    """What is known of a column without its rows.

    Attributes:
      squares: sum of the squared distances from the mean.
      upper: how often each upper half of a key came.
    """

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, 0.0, 0.0
        self.min, self.max = np.inf, -np.inf
        self.upper = np.zeros(_BUCKETS, np.int64)

    def take(self, values: Float32[np.ndarray, " n"]) -> UInt32[np.ndarray, " n"]:
        """Counts n >= 1 values and gives their keys."""
        exact = values.astype(np.float64)
        mean = float(exact.mean())
        count, apart = self.count + len(values), mean - self.mean
        self.squares += float(np.square(exact - mean).sum())
        self.squares += apart * apart * self.count * len(values) / count
        self.mean += apart * len(values) / count
        self.count = count
        self.min, self.max = min(self.min, float(exact.min())), max(self.max, float(exact.max()))
        keys = _keys(values)
        self.upper += np.bincount(keys >> _BITS, minlength=_BUCKETS)
        return keys


def _keys(values: Float32[np.ndarray, " n"]) -> UInt32[np.ndarray, " n"]:
    """Sort as the values do: negative ones have all bits turned over, others the sign alone."""
    bits = values.view(np.uint32)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _number(keys: Int64[np.ndarray, " n"]) -> Float32[np.ndarray, " n"]:
    """The inverse of `_keys`."""
    bits = keys.astype(np.uint32)
    return np.where(bits & _SIGN, bits ^ _SIGN, ~bits).view(np.float32)


def _locate(
    counts: Int64[np.ndarray, " K"], ranks: Int64[np.ndarray, " R"]
) -> tuple[Int64[np.ndarray, " R"], Int64[np.ndarray, " R"]]:
    """The bucket that each rank falls into, and its rank within that."""
    ends = np.cumsum(counts)
    buckets = np.searchsorted(ends, ranks, side="right")
    return buckets, ranks - (ends - counts)[buckets]
