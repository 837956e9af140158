"""Statistics in bounded memory equal numpy's over all rows at once."""

import tempfile
import tracemalloc

import numpy as np
import pytest

from data_pipelines import running_statistics
from data_pipelines.running_statistics import RunningStatistics
from vidact.errors import UserError

LARGEST, SMALLEST = np.finfo(np.float32).max, np.finfo(np.float32).smallest_subnormal
BLOCK = 2**16


def over(rows: np.ndarray, pieces: int = 1):
    running = RunningStatistics()
    for piece in np.array_split(rows, pieces):
        running.add(piece)
    assert running.count == len(rows)
    return running.finish()


def check(found, rows: np.ndarray) -> None:
    exact = rows.astype(np.float64)
    assert found.count == len(rows)
    near = dict(rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(found.q01, np.quantile(exact, 0.01, axis=0), **near)
    np.testing.assert_allclose(found.q99, np.quantile(exact, 0.99, axis=0), **near)
    np.testing.assert_array_equal(found.min, exact.min(0))
    np.testing.assert_array_equal(found.max, exact.max(0))
    size = np.abs(exact).max(0)
    assert np.all(np.abs(found.mean - exact.mean(0)) <= 1e-12 * size)
    assert np.all(np.abs(found.std - exact.std(0)) <= 1e-12 * size)


def columns(random: np.random.Generator, count: int) -> np.ndarray:
    """Signs mixed, one sign, a constant, a gripper, far from zero, tiny, huge, both zeros."""
    gripper = random.random(count) < 0.003
    zeros = np.where(random.random(count) < 0.5, 0.0, -0.0)
    made = [
        random.normal(0, 1, count),
        -random.exponential(5, count),
        np.full(count, 0.7),
        gripper,
        1e4 + random.normal(0, 0.01, count),
        random.integers(-1000, 1000, count) * float(SMALLEST),
        random.uniform(-1, 1, count) * float(LARGEST),
        zeros,
    ]
    return np.stack(made, axis=1).astype(np.float32)


@pytest.mark.parametrize("count", [1, 2, 100, 101, 102, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 7])
def test_equal_to_numpy(count):
    rows = columns(np.random.default_rng(count), count)
    check(over(rows, pieces=3), rows)


@pytest.mark.parametrize("pieces", [1, 7, 5000])
def test_the_pieces_do_not_matter(pieces):
    rows = columns(np.random.default_rng(0), BLOCK + 5000)
    one, many = over(rows), over(rows, pieces)
    assert one.to_json() == many.to_json()


def test_neighbouring_floats_are_told_apart():
    """All within one bucket of the upper bits: the lower ones decide."""
    start = np.float32(1.0).view(np.uint32)
    rows = (start + np.random.default_rng(0).permutation(1001).astype(np.uint32)).view(np.float32)
    found = over(rows[:, None])
    assert found.q01[0] == np.uint32(start + 10).view(np.float32)
    assert found.q99[0] == np.uint32(start + 990).view(np.float32)


def test_by_hand():
    """100 rows: the 1 % quantile lies 0.99 of the way from the first to the second."""
    rows = np.stack([np.arange(100), -np.arange(100)], axis=1).astype(np.float32)
    found = over(rows[::-1])
    np.testing.assert_allclose(found.q01, [0.99, -98.01], rtol=1e-14)
    np.testing.assert_allclose(found.q99, [98.01, -0.99], rtol=1e-14)
    np.testing.assert_allclose(found.mean, [49.5, -49.5], rtol=1e-14)
    np.testing.assert_allclose(found.std, [833.25**0.5] * 2, rtol=1e-14)


def test_a_strided_view_is_read_as_it_looks():
    rows = np.arange(600, dtype=np.float32).reshape(100, 6)
    check(over(rows[:, ::2]), rows[:, ::2])


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(wrong):
    running = RunningStatistics()
    running.add(np.zeros((BLOCK + 3, 2), np.float32))
    rows = np.zeros((5, 2), np.float32)
    rows[4, 1] = wrong
    with pytest.raises(ValueError, match=rf"row {BLOCK + 7}, column 1 is {wrong}"):
        running.add(rows)


def test_other_widths_and_no_rows_are_refused():
    running = RunningStatistics()
    running.add(np.zeros((0, 2), np.float32))
    with pytest.raises(ValueError, match="no row"):
        running.finish()
    with pytest.raises(ValueError, match="rows of 3 columns after 2"):
        running.add(np.zeros((1, 3), np.float32))


def test_a_full_disk_is_one_line(monkeypatch):
    full = open("/dev/full", "w+b")  # noqa: SIM115
    monkeypatch.setattr(running_statistics.tempfile, "TemporaryFile", lambda: full)
    running = RunningStatistics()
    running.add(np.zeros((10, 2), np.float32))
    with pytest.raises(UserError, match=r"No space left on device .*; set TMPDIR to a folder"):
        running.finish()
    with pytest.raises(OSError, match="No space"):
        full.close()  # what is still buffered cannot go anywhere


def test_the_temporary_file_has_no_name(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    running = RunningStatistics()
    running.add(np.zeros((BLOCK, 1), np.float32))
    assert not list(tmp_path.iterdir())


def peak(piece: np.ndarray, times: int) -> int:
    """Bytes held at most while `piece` is added so many times, beside the piece itself."""
    tracemalloc.start()
    try:
        running = RunningStatistics()
        for _ in range(times):
            running.add(piece)
        assert running.finish().count == times * len(piece)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def bound(width: int) -> int:
    return width * running_statistics.BYTES_PER_COLUMN + running_statistics.BYTES_BESIDE


def test_memory_does_not_grow_with_the_rows():
    piece = np.random.default_rng(0).normal(size=(50_000, 14)).astype(np.float32)
    few, many = peak(piece, 2), peak(piece, 60)
    assert many - few < 2**18
    assert many < bound(14) < 60 * piece.nbytes / 3


def test_memory_stays_within_its_bound_where_each_rank_has_a_bucket_of_its_own():
    piece = np.repeat(2.0 ** np.arange(-50, 51)[:, None], 14, axis=1).astype(np.float32)[:-2]
    assert peak(piece, 1) < bound(14)
    assert peak(np.repeat(piece, BLOCK // 99, axis=0)[:, :1], 3) < bound(1)
