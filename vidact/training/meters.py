"""How fast a run goes, and where its time goes."""

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import ml_collections
import psutil

from vidact.encoders.encode import encode
from vidact.training import chips, flops

Shapes = tuple[tuple[str, tuple[int, ...]], ...]


class Work(NamedTuple):
    """What one batch of some shape asks for.

    Attributes:
      tokens: of the video's latents, the actions and the state, padding included.
      flops: of its training step, without what remat computes again.
    """

    tokens: int
    flops: float


class Meter:
    """A clock that tells steps, waiting for data and everything else apart.

    Steps follow each other without the host waiting for one, so that the times are those of whole
    log lines, at whose ends it does wait.

    Attributes:
      compiling: seconds that steps of new shapes took to trace and compile.
    """

    def __init__(self, config: ml_collections.ConfigDict, devices: list[Any]):
        """Args: config: the whole configuration. devices: all that share a step."""
        self._config, self._devices = config, devices
        self._age = time.time() - psutil.Process().create_time()
        self._made = time.perf_counter()
        self._useful, self.compiling = 0.0, 0.0
        self._work: dict[Shapes, Work] = {}
        self._compiled: set[Shapes] = set()
        self._restart()

    def _restart(self) -> None:
        self._since, self._waiting, self._aside = time.perf_counter(), 0.0, 0.0
        self._steps: Counter[Shapes] = Counter()

    @property
    def age(self) -> float:
        """Seconds since this process began."""
        return self._age + time.perf_counter() - self._made

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Around waiting for the next batch."""
        began = time.perf_counter()
        yield
        self._waiting += time.perf_counter() - began

    @contextlib.contextmanager
    def aside(self, metrics: Any = None) -> Iterator[None]:
        """Around what is no step: saving, evaluating, drawing. Waits for the step of `metrics`."""
        jax.block_until_ready(metrics)
        began = time.perf_counter()
        yield
        self._aside += time.perf_counter() - began

    @contextlib.contextmanager
    def step(self, batch: Mapping[str, Any]) -> Iterator[None]:
        """Around the dispatch of a step, which compiles it first where the shapes are new."""
        shapes, began = shapes_of(batch), time.perf_counter()
        yield
        self._steps[shapes] += 1
        if shapes not in self._compiled:
            self._compiled.add(shapes)
            self._aside += time.perf_counter() - began
            self.compiling += time.perf_counter() - began

    def line(self, batch: Mapping[str, Any], codec: Any, skipped: int) -> dict[str, float]:
        """Values of the steps since the last line, which are all done; begins the next line.

        Args:
          batch: the last one; a new shape's FLOPs are counted now, by tracing the model.
          codec: of the run, or None.
          skipped: how many of the steps were.
        """
        count = self._steps.total()
        seconds = time.perf_counter() - self._since - self._aside
        self._useful += max(seconds - self._waiting, 0.0) * (count - skipped) / count
        values = {
            "seconds": seconds / count,
            "data wait": self._waiting / seconds,
            "steps/s": count / seconds,
            "goodput": self._useful / self.age,
        }
        values |= self._rates(batch, codec, seconds)
        self._restart()
        return values

    def _rates(self, batch: Mapping[str, Any], codec: Any, seconds: float) -> dict:
        shapes = shapes_of(batch)
        if shapes not in self._work:
            self._work[shapes] = work(self._config, batch, codec)
        # A shape that no line ended with yet counts as the last batch's.
        done = [(self._work.get(s, self._work[shapes]), n) for s, n in self._steps.items()]
        rate = sum(one.flops * n for one, n in done) / seconds
        values = {
            "tokens/s": sum(one.tokens * n for one, n in done) / seconds,
            "TFLOP/s": rate / 1e12,
        }
        peak = chips.peak(self._devices[0].device_kind)
        return values | ({"MFU": rate / (peak * len(self._devices))} if peak else {})


def shapes_of(batch: Mapping[str, Any]) -> Shapes:
    """What tells batches apart for which the step is compiled anew."""
    return tuple((name, value.shape) for name, value in batch.items())


def work(config: ml_collections.ConfigDict, batch: Mapping[str, Any], codec: Any) -> Work:
    """Tokens and FLOPs of a step, from the shapes of a global batch; nothing is computed.

    Args:
      config: the whole configuration.
      batch: arrays, or their shapes, by field.
      codec: of the run, or None where latents are stored.
    """

    def sizes(codec, batch):
        inputs = encode(codec, batch)
        return inputs.latents, inputs.actions

    latents, actions = jax.eval_shape(sizes, codec, dict(batch))
    rows, count, height, width, _ = latents.shape
    patch = config.model.patch
    frame = -(-height // patch) * -(-width // patch)
    tokens = rows * (count * frame + actions.shape[1] + 1)
    return Work(tokens, flops.model_step(config, batch, codec))
