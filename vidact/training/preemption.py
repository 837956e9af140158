"""Told to go: SIGTERM to any process lets all of them save the same step and exit with 75.

JAX is imported late: `may_end` comes before everything that takes time.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import NoReturn

EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: start again
JOINING_SECONDS = 1.0  # between the last process's arrival and JAX's hearing of SIGTERM, and more

_told = threading.Event()
_handed_over = threading.Event()  # or nobody called `may_end`
_handed_over.set()


def may_end() -> None:
    """Lets SIGTERM end this process with `EXIT_CODE` and one line, until `hand_over`.

    Call it once, in the main thread, before anything that takes time. Python calls its handlers
    between two of its own instructions only. Waiting for other processes and compiling are single
    ones, of minutes; so a thread hears of the signal instead.
    """
    hears, tells = os.pipe()
    os.set_blocking(tells, False)
    _handed_over.clear()
    threading.Thread(target=_end_when_told, args=(hears,), daemon=True).start()
    signal.set_wakeup_fd(tells, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda *_: None)  # as no handler, nothing would be written


def hand_over() -> None:
    """From now on SIGTERM is for `reached` to tell, since there is something to save."""
    if not _handed_over.is_set():
        signal.set_wakeup_fd(-1)
        _handed_over.set()


def _end_when_told(hears: int) -> None:
    while signal.SIGTERM not in os.read(hears, 1):  # other signals are written too
        pass
    # Once all have joined, one that left alone would be a crash to the others.
    if _handed_over.wait(JOINING_SECONDS):
        os.kill(os.getpid(), signal.SIGTERM)
        return
    print("told to go: nothing to save yet; the same command starts again", flush=True)
    os._exit(EXIT_CODE)  # the main thread may be in a call that nothing else ends


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
    import jax
    from jax.experimental import multihost_utils

    hand_over()
    if jax.distributed.is_initialized():
        return multihost_utils.reached_preemption_sync_point(step)
    return _told.is_set()


def leave(step: int) -> NoReturn:
    """Exits with `EXIT_CODE` and one line; `step` has been saved."""
    print(f"told to go: saved step {step}; the same command goes on from it", flush=True)
    sys.exit(EXIT_CODE)
