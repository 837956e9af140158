"""What the peers' programs share: they tell their first windows, then measure when asked.

A program writes lines of JSON on standard output: first which windows its first batch holds and the
SHA-256 of their pixels, then, for every line that it reads, what the next batches cost. Between two
requests it stands still, so that several programs can take turns on one machine. Nothing of this
project is imported here: the programs run in environments of their own.
"""

import hashlib
import json
import os
import pathlib
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

FRAMES, BATCH, THREADS = 35, 8, 2
_MEASURED, _AHEAD = 8, 4  # batches; at most so many are made ahead by any of the programs
_QUIET_S, _CALM = 0.1, 3
_TICKS = os.sysconf("SC_CLK_TCK")


class Windows(NamedTuple):
    """A batch.

    Attributes:
      places: episode and first step of each window, int [B, 2].
      pixels: B windows of FRAMES frames; anything that `numpy.asarray` takes.
    """

    places: Any
    pixels: Any


def serve(batches: Iterator[Windows], hashed: bool = True) -> None:
    """Tells the first batch's windows, and then what batches cost, once for each line read.

    Args:
      batches: endless.
      hashed: whether the pixels are uint8 frames that another program's can be equal to.
    """
    first = next(batches)
    told: dict[str, Any] = {"places": np.asarray(first.places).tolist()}
    if hashed:
        told["sha256"] = [hashlib.sha256(row.tobytes()).hexdigest() for row in _rows(first)]
    _say(told)
    for _ in sys.stdin:
        _say(_measured(batches))


def _rows(batch: Windows) -> list[np.ndarray]:
    return list(np.ascontiguousarray(np.asarray(batch.pixels)))


def _measured(batches: Iterator[Windows]) -> dict[str, float]:
    """CPU and wall milliseconds a window.

    The CPU time is read while nothing is under way: before, and after what is made ahead is made
    again. The wall time begins when all that was made ahead is used up.
    """
    cpu = _calm()
    for _ in range(_AHEAD):
        next(batches)
    began = time.perf_counter()
    for _ in range(_MEASURED):
        next(batches)
    wall = time.perf_counter() - began
    cpu = _calm() - cpu
    return {
        "cpu_ms": 1e3 * cpu / (BATCH * (_MEASURED + _AHEAD)),
        "wall_ms": 1e3 * wall / (BATCH * _MEASURED),
    }


def _calm() -> float:
    """Waits until this process and its children use no CPU time, and returns what they used."""
    used, calm = cpu_s(), 0
    while calm < _CALM:
        time.sleep(_QUIET_S)
        now = cpu_s()
        calm = calm + 1 if now - used <= 1 / _TICKS else 0
        used = now
    return used


def cpu_s() -> float:
    """CPU seconds that this process and its living children have used, all threads together."""
    return time.process_time() + sum(_child_s(child) for child in _children(os.getpid()))


def _children(process: int) -> list[int]:
    found = []
    for task in pathlib.Path(f"/proc/{process}/task").iterdir():
        own = [int(name) for name in (task / "children").read_text().split()]
        found += own + [below for child in own for below in _children(child)]
    return found


def _child_s(process: int) -> float:
    """User and system time, the 14th and 15th field; the second one, a name, may hold spaces."""
    fields = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _say(told: dict[str, Any]) -> None:
    print(json.dumps(told), flush=True)
