"""Memory is used again when, and only when, nobody refers to it."""

import pathlib
import resource

import numpy as np

from data_pipelines.buffers import Buffers, trim


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_comes_back_with_the_last_view():
    buffers = Buffers()
    first = buffers.take((2, 3, 5))
    assert first.shape == (2, 3, 5) and first.dtype == np.uint8 and first.flags.c_contiguous
    place = address(first)
    view = first[1, 1:].T
    row = view[:2].reshape(-1, 2)[:1]
    del first, view
    row_address, row[:] = address(row), 7
    second = buffers.take((2, 3, 5))
    assert address(second) != place
    second[:] = 0
    assert (row == 7).all() and place <= row_address < place + 30
    del row
    assert address(buffers.take((30,))) == place


def test_sizes_do_not_mix():
    buffers = Buffers()
    small, large = buffers.take((8,)), buffers.take((80,))
    places = address(small), address(large)
    del small, large
    again = buffers.take((80,))
    assert address(again) == places[1] and again.shape == (80,)
    assert address(buffers.take((8,))) == places[0]


def test_what_is_idle_is_bounded():
    buffers = Buffers()
    del_me = [buffers.take((10,)) for _ in range(20)]
    del_me.clear()
    assert len(buffers._idle) == 8


def test_an_array_that_jax_took_over_stays():
    import jax

    buffers = Buffers()
    mine = buffers.take((4, 1024))
    mine[:] = 5
    theirs = jax.device_put(mine)
    del mine
    buffers.take((4, 1024))[:] = 0
    assert (np.asarray(theirs) == 5).all()


def test_freed_memory_is_handed_back():
    def resident():
        status = pathlib.Path("/proc/self/statm").read_text()
        return int(status.split()[1]) * resource.getpagesize()

    # Small pieces, of which the last holds all others in the heap.
    pieces = [bytes(100_000) for _ in range(1000)]
    last = bytes(100_000)
    del pieces
    before = resident()
    trim()
    assert len(last) and resident() < before - 50_000_000
