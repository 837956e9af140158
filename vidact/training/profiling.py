"""A recording of some early steps, for TensorBoard's profiler, XProf or Perfetto."""

import contextlib
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax

FOLDER = "profile"


class Profiler:
    """Records steps first to last into workdir/profile, if this process comes by the first."""

    def __init__(self, workdir: pathlib.Path, steps: Sequence[int]):
        """Args: steps: config.train.profile, first and last, or ()."""
        self._folder = workdir / FOLDER
        self._first, self._last = steps or (0, 0)
        self._on = False

    @contextlib.contextmanager
    def step(self, number: int, before: Any) -> Iterator[None]:
        """Around the dispatch of a step; `before` is the state that it starts from."""
        if number == self._first:
            jax.block_until_ready(before)  # what ran earlier is not recorded
            jax.profiler.start_trace(str(self._folder))
            self._on = True
        if not self._on:
            yield
            return
        with jax.profiler.StepTraceAnnotation("train", step_num=number):
            yield

    def after(self, number: int, metrics: Any) -> None:
        """Ends the recording once the last step's `metrics` are there."""
        if self._on and number == self._last:
            jax.block_until_ready(metrics)
            self.close()

    def close(self) -> None:
        """Ends the recording, if there is one."""
        if self._on:
            self._on = False
            jax.profiler.stop_trace()
