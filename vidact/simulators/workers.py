"""Processes that hold simulators, and the pipe to each.

They are started afresh rather than forked or spawned by multiprocessing, so that they import the
simulator only (no JAX, no `__main__`), and so that they work from a notebook too. A worker ends
when its pipe closes: none outlives the process that started it, however that one ends.
"""

import contextlib
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

from vidact.errors import UserError
from vidact.simulators import gl

CLOSE_SECONDS = 10.0


class Workers:
    """A few processes, each holding one object whose methods are called from here.

    Args:
      count: how many processes; None starts one per core.
      make: a module-level callable that builds the object inside each process.
      arguments: what `make` is called with.

    Raises:
      UserError: no GL library works here.
    """

    def __init__(self, count: int | None, make: Callable[..., Any], *arguments: Any):
        gl.activate()  # chosen once, here; the workers inherit it
        self._processes: list[subprocess.Popen] = []
        self._pipes: list[Connection] = []
        for _ in range(count or cores()):
            self._start()
        for pipe in self._pipes:
            pipe.send((make, arguments))
        self.gather()

    def __len__(self) -> int:
        return len(self._pipes)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def send(self, worker: int, method: str, *arguments: Any) -> None:
        """Asks one worker for `method(*arguments)`; `receive` fetches the answer."""
        try:
            self._pipes[worker].send((method, arguments))
        except OSError:
            self._raise_dead(worker)

    def receive(self, worker: int) -> Any:
        """Waits for a worker's answer.

        Raises:
          UserError: the worker raised one.
          RuntimeError: the worker raised anything else, or died.
        """
        try:
            error, answer = self._pipes[worker].recv()
        except (EOFError, OSError):
            self._raise_dead(worker)
        if error is not None:
            self.close()
            raise error
        return answer

    def gather(self) -> list[Any]:
        """Waits for one answer of every worker, in their order."""
        return [self.receive(worker) for worker in range(len(self))]

    def imap(self, method: str, tasks: Iterable[tuple]) -> Iterator[tuple[int, Any]]:
        """Calls `method(*task)` for each task on whichever worker is free.

        Yields:
          Index of a task and its result, in the order in which they finish.
        """
        waiting = iter(enumerate(tasks))
        running: dict[int, int] = {}

        def feed(worker: int) -> None:
            for index, task in waiting:
                self.send(worker, method, *task)
                running[worker] = index
                return

        for worker in range(len(self)):
            feed(worker)
        while running:
            ready = wait([self._pipes[worker] for worker in running])
            for worker in [w for w in running if self._pipes[w] in ready]:
                result = self.receive(worker)
                index = running.pop(worker)
                feed(worker)
                yield index, result

    def close(self) -> None:
        """Ends the processes; safe to call again."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            try:
                process.wait(CLOSE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self) -> None:
        ours, theirs = Pipe()
        path = os.pathsep.join(folder or os.curdir for folder in sys.path)
        process = subprocess.Popen(
            [sys.executable, "-m", "vidact.simulators.workers", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )
        theirs.close()
        self._processes.append(process)
        self._pipes.append(ours)

    def _raise_dead(self, worker: int) -> None:
        code = self._processes[worker].wait()
        self.close()
        raise RuntimeError(
            f"simulator worker {worker} died with exit code {code}; "
            "if it was killed for memory (-9), use fewer workers"
        )


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _serve(pipe: Connection) -> None:
    """A worker's life: build the object, then answer calls until the pipe closes."""
    target = None
    while True:
        call, arguments = pipe.recv()
        error: Exception | None = None
        answer = None
        try:
            if target is None:
                target = call(*arguments)
            else:
                answer = getattr(target, call)(*arguments)
        except UserError as raised:
            error = raised
        except ModuleNotFoundError as raised:
            remedy = "run `pip install -e '.[metaworld]'`"
            error = UserError(f"{raised.name}: not installed; {remedy}")
        except Exception:
            error = RuntimeError(f"a simulator worker failed:\n{traceback.format_exc()}")
        pipe.send((error, answer))


if __name__ == "__main__":
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        _serve(Connection(int(sys.argv[1])))
