"""Several processes as one run: how they find each other, what only the first does, how they end.

JAX finds the others by itself on Cloud TPU, GKE and Slurm; docs/processes.md says how else.
"""

import atexit
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from vidact.errors import UserError
from vidact.training import preemption

START_SECONDS = 300  # all must have begun by then
HEARTBEAT_SECONDS = 30  # without a sign of life from one, the others end
LEAVE_SECONDS = 60  # that one which has finished waits for the others to finish too
TELL_SECONDS = 5  # that one with an error waits for the others to tell theirs
# What JAX says where nobody told it of other processes, and where it is running already.
_ALONE, _RUNNING = "coordinator_address should be defined", "must be called before"
# What collectives and JAX's coordination say where a process is gone.
_LOST = ("gloo", "nccl", "barrier", "connection closed", "connection reset", "heartbeat")


@contextlib.contextmanager
def joined(
    coordinator: str | None = None, processes: int | None = None, process: int | None = None
) -> Iterator[None]:
    """Joins this process to the others of its run, and ends it when one of them is lost.

    Call it before anything else asks for a device. Without arguments it takes what
    JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID say, then what JAX finds out about
    a cluster; where that is nothing, this process is the only one. A process of several which
    notices that another is gone exits with code 1 and one line.

    Args:
      coordinator: HOST:PORT of process 0.
      processes: how many there are.
      process: which one this is, 0 <= process < processes.

    Raises:
      UserError: only some of these are given, or the processes do not come together in time.
    """
    _start(coordinator, processes, process)
    try:
        yield
    except Exception as error:
        if jax.process_count() > 1:
            _leave(error)
        raise


def is_first() -> bool:
    """Whether this is the process that prints and writes for all."""
    return jax.process_index() == 0


def own(name: str) -> str:
    """A file's name for this process: that of the first as it is, `bad.3.txt` for process 3."""
    stem, dot, suffix = name.rpartition(".")
    return name if is_first() else f"{stem}.{jax.process_index()}{dot}{suffix}"


def wait(what: str) -> None:
    """Returns when all processes have called it: what the first wrote before is there to read."""
    multihost_utils.sync_global_devices(what)


def gather(value: np.ndarray) -> np.ndarray:
    """Every process's array, all of one shape, stacked by process on a new first axis."""
    return np.asarray(multihost_utils.process_allgather(value))


def total(count: int) -> int:
    """The sum of what each process has counted; all of them call it."""
    return int(gather(np.asarray(count, np.int64)).sum())


def slowest(wait: float) -> dict[str, float]:
    """For the log line: the process that the others wait for most, and its share of time.

    They step together, so that one which waits for its data holds up all.

    Args:
      wait: this process's share of the time that it waited for data, in [0, 1].

    Returns:
      Nothing where there is only one process.
    """
    if jax.process_count() == 1:
        return {}
    waits = gather(np.asarray(wait, np.float32))
    return {"slowest process": float(waits.argmax()), "its data wait": float(waits.max())}


def _leave(error: Exception) -> None:
    """Sees to it that this process ends soon; JAX's own way out waits for the others, then aborts.

    The others, which wait for this one, notice as soon as it is gone.
    """
    reason = " ".join(str(error).split())
    users = isinstance(error, UserError | OSError)
    if users or not any(words in reason.lower() for words in _LOST):
        atexit.register(_end, 2 if users else 1, TELL_SECONDS)
        return
    print(
        f"error: process {jax.process_index()}: another process is gone; its own output says why, "
        f"start all of them again ({reason[:160]})",
        file=sys.stderr,
    )
    _end(1)


def _end(code: int, seconds: float = 0) -> None:
    time.sleep(seconds)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _start(coordinator: str | None, processes: int | None, process: int | None) -> None:
    flags = (coordinator, processes, process)
    if None in flags and flags != (None, None, None):
        raise UserError("--coordinator, --processes, --process: give all three or none")
    address = coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
    if not address and os.environ.get("SLURM_NTASKS") == "1":
        return  # JAX would leave this task one GPU of all
    known: dict[str, Any] = dict(
        coordinator_address=address,
        num_processes=_number("JAX_NUM_PROCESSES") if processes is None else processes,
        process_id=_number("JAX_PROCESS_ID") if process is None else process,
    )
    if None not in known.values():
        known["cluster_detection_method"] = "deactivate"
    if address and not address.rpartition(":")[2].isdigit():
        raise UserError(f"coordinator {address}: has no port; write HOST:PORT")
    try:
        jax.distributed.initialize(
            **known,
            initialization_timeout=START_SECONDS,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=LEAVE_SECONDS,
        )
        preemption.hand_over()
    except (ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        if not address and _ALONE in reason:
            return
        if not address and _RUNNING in reason:  # a notebook, say; on a cluster it would be wrong
            print("JAX was in use before: this process trains alone", flush=True)
            return
        raise UserError(
            f"coordinator {address or 'of the cluster'}: {reason[:200]}; give every process the "
            "address of process 0, the same number of processes and a number of its own from 0"
        ) from error


def _number(name: str) -> int | None:
    told = os.environ.get(name)
    if told is not None and not told.isdigit():
        raise UserError(f"{name}={told}: not a number of processes; set one from 0")
    return None if told is None else int(told)
