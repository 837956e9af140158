"""FLOPs of a program, counted from its jaxpr: matrix products and convolutions, loops included."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import ml_collections
from jax.extend.core import Jaxpr
from jax.interpreters import partial_eval

from vidact.nn import placement
from vidact.training import example, program, sharding


class Work(NamedTuple):
    """FLOPs of a training step, or of another program.

    Attributes:
      model: without what remat computes again; MFU counts these.
      hardware: with it; HFU counts these.
    """

    model: float
    hardware: float


def training_step(config: ml_collections.ConfigDict, pixels: bool = False) -> Work:
    """What a step on a whole batch takes; attention is counted without any kernel's padding.

    Args:
      config: the whole configuration.
      pixels: as for `example.from_stored`.

    Raises:
      UserError: as `program.build`.
    """
    given = (example.batch(config, pixels).as_dict(), example.codec(config, pixels))
    return Work(model_step(config, *given), _step(config, *given))


def model_step(config: ml_collections.ConfigDict, batch: Mapping[str, Any], codec: Any) -> float:
    """`Work.model` of a step on a given batch.

    Args:
      config: the whole configuration.
      batch: the global batch's arrays, or their shapes, by field.
      codec: arrays or shapes, or None where latents are stored.
    """
    config = config.copy_and_resolve_references()
    config.model.remat = "none"
    return _step(config, batch, codec)


def _step(config: ml_collections.ConfigDict, batch: Mapping[str, Any], codec: Any) -> float:
    built = program.build(config, sharding.one_device())
    return count(built.step, *built.arguments(batch, codec))


def count(function: Callable, *args: Any) -> float:
    """FLOPs of `function(*args)`, dead code left out; `args` may be shapes.

    Raises:
      ValueError: there is a loop whose length is not known.
    """
    # As a CPU has it: a kernel would hide its products.
    with placement.use(placement.Placement(sharding.one_device(), sharding.ACTIVATIONS)):
        closed = jax.make_jaxpr(function)(*args)
    alive, _ = partial_eval.dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
    return float(_count(alive))


def _count(jaxpr: Jaxpr) -> int:
    total = 0
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        if name == "dot_general":
            total += _product(equation)
        elif name == "conv_general_dilated":
            total += _convolution(equation)
        elif name == "cond":
            total += max(_count(branch.jaxpr) for branch in params["branches"])
        elif name == "while":
            if _count(params["body_jaxpr"].jaxpr):
                raise ValueError("a while loop has products; how often it runs is not known")
        else:
            times = params["length"] if name == "scan" else 1
            total += times * sum(_count(inner) for inner in _inside(params))
    return total


def _inside(params: dict[str, Any]) -> list[Jaxpr]:
    """The jaxprs that an equation calls; those of derivatives still to be taken are not."""
    called = [params[key] for key in ("jaxpr", "call_jaxpr") if key in params]
    return [getattr(jaxpr, "jaxpr", jaxpr) for jaxpr in called]


def _product(equation: Any) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = equation.invars[0].aval.shape
    return 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[i] for i in contracted)


def _convolution(equation: Any) -> int:
    kernel = equation.invars[1].aval.shape
    out = equation.params["dimension_numbers"].rhs_spec[0]
    groups = equation.params["batch_group_count"]
    each = math.prod(size for axis, size in enumerate(kernel) if axis != out)
    return 2 * math.prod(equation.outvars[0].aval.shape) * each // groups
