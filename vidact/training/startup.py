"""From the start of the process to the first finished step: a cache of programs, and the time."""

import contextlib
import gc
import pathlib
import time
from collections.abc import Iterator

import jax
import ml_collections
import psutil
from jax.experimental.compilation_cache import compilation_cache

PROGRAMS = "programs"
OFF = "none"
_FOLDER = "jax_compilation_cache_dir"
_COMPILING = "/jax/core/compile/backend_compile_duration"  # or reading from the cache
_HIT = "/jax/compilation_cache/cache_hits"


class _Counters:
    """What JAX reports while it compiles, added up over the whole process."""

    seconds = 0.0
    hits = 0

    def add_duration(self, event: str, duration_secs: float, **_) -> None:
        if event == _COMPILING:
            self.seconds += duration_secs

    def add_event(self, event: str, **_) -> None:
        self.hits += event == _HIT


_COUNTERS = _Counters()
jax.monitoring.register_event_duration_secs_listener(_COUNTERS.add_duration)
jax.monitoring.register_event_listener(_COUNTERS.add_event)


def keep_programs(config: ml_collections.ConfigDict, workdir: str | pathlib.Path) -> None:
    """Keeps compiled programs in a folder, from which a restart reads them.

    The folder is `config.train.compile_cache`. By default it is the one that JAX was told already
    (JAX_COMPILATION_CACHE_DIR), or else WORKDIR/programs: JAX lets only the first process write, so
    that a folder of each host's own would serve one host. Programs that compile within a second
    are not kept. Everyone who may write there can run code here.

    Args:
      config: the whole configuration; `config.train.compile_cache` is a folder, "" or "none".
      workdir: of the run.
    """
    folder = config.train.compile_cache or getattr(jax.config, _FOLDER)
    if not folder:
        folder = str(pathlib.Path(workdir).absolute() / PROGRAMS)
    jax.config.update(_FOLDER, None if folder == OFF else folder)
    compilation_cache.reset_cache()  # JAX looks at the name only once


@contextlib.contextmanager
def settled() -> Iterator[None]:
    """Python's collector passes over what is there now, programs and the like, which stays.

    Looking through all of it takes 0.15 s, which a step or a save would wait for now and then.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class Clock:
    """Tells in one line how long it took from the process's start to the first finished step."""

    def __init__(self) -> None:
        """Now what `start` was is over: the interpreter, imports, the other processes."""
        self._began = psutil.Process().create_time()
        self._marks = {"start": time.time()}
        self._compiled, self._hits = _COUNTERS.seconds, _COUNTERS.hits

    def mark(self, part: str) -> None:
        """Now `part` is over, which began where the one before it ended."""
        self._marks[part] = time.time()

    def line(self) -> str:
        """Seconds in all and of each part; compiling is spread over the parts."""
        ends = list(self._marks.values())
        parts = zip(self._marks, [self._began, *ends], ends, strict=False)
        told = " ".join(f"{name} {after - before:.1f}" for name, before, after in parts)
        seconds, hits = _COUNTERS.seconds - self._compiled, _COUNTERS.hits - self._hits
        return (
            f"first step after s: {ends[-1] - self._began:.1f} ({told}); compiling "
            f"{seconds:.1f}, programs from the cache: {hits}"
        )
