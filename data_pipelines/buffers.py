"""Memory of large arrays, used again once nobody refers to them.

A fresh batch of frames costs the kernel as much as an eighth of decoding them: every page is
mapped and cleared first.
"""

import ctypes
from collections import deque

import numpy as np
from jaxtyping import UInt8

_MAX_IDLE = 8  # beyond those in use


def trim() -> None:
    """Hands freed memory back to the system, where the C library can (glibc).

    It keeps what it takes for likely to be asked for again: 85 MB after opening a million episodes.
    """
    found = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if found is not None:
        found(0)


class Buffers:
    """Arrays of bytes whose memory comes back by itself. Thread-safe."""

    def __init__(self) -> None:
        # Appending and popping are atomic. A lock could be met again by the thread that holds it:
        # Python may give an array back at any point.
        self._idle: deque[np.ndarray] = deque(maxlen=_MAX_IDLE)

    def take(self, shape: tuple[int, ...]) -> UInt8[np.ndarray, "..."]:
        """An array of anything; its memory is used again when it and all views of it are gone."""
        size = int(np.prod(shape))
        memory = self._find(size)
        if memory is None:
            memory = np.empty(size, np.uint8)
        return np.asarray(_Lease(memory, self._idle)).reshape(shape)

    def _find(self, size: int) -> np.ndarray | None:
        for _ in range(len(self._idle)):
            try:
                memory = self._idle.popleft()
            except IndexError:  # another thread was faster
                return None
            if memory.size == size:
                return memory
            self._idle.append(memory)
        return None


class _Lease:
    """What NumPy takes for the owner of the memory: it goes with the last array that shows it."""

    def __init__(self, memory: np.ndarray, idle: deque[np.ndarray]):
        self.__array_interface__ = memory.__array_interface__
        self._memory, self._idle = memory, idle

    def __del__(self) -> None:
        self._idle.append(self._memory)
