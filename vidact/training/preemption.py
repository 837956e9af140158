"""Told to go: SIGTERM to any process lets all of them save the same step and exit with 75."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from typing import NoReturn

import jax
from jax.experimental import multihost_utils

EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: start again

_told = threading.Event()


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Notes SIGTERM instead of dying of it; `reached` tells. Only for the main thread.

    Where several processes join afterwards, JAX takes the signal in their place and tells all.
    """
    _told.clear()
    before = signal.signal(signal.SIGTERM, lambda *_: _told.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        _told.clear()


def reached(step: int) -> bool:
    """Whether all processes are to save `step` and go; call it in all of them at every step.

    They agree on a step that none of them has passed, a second or two after the signal.
    """
    if jax.distributed.is_initialized():
        return multihost_utils.reached_preemption_sync_point(step)
    return _told.is_set()


def leave(step: int) -> NoReturn:
    """Exits with `EXIT_CODE` and one line; `step` has been saved."""
    print(f"told to go: saved step {step}; the same command goes on from it", flush=True)
    sys.exit(EXIT_CODE)
