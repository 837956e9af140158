"""Compiles the training step for a pod that is not there, and says what it takes."""

import dataclasses
import functools
import re
import time
from collections.abc import Sequence
from typing import Any

import jax
import ml_collections

from vidact.errors import UserError
from vidact.training import checks, chips, example, flops, hlo, program, roofline, sharding

# The least that XLA optimises, in a tenth of the time or so; of memory it uses about as much.
FAST: dict[str, Any] = {"exec_time_optimization_effort": -1.0}


@dataclasses.dataclass(frozen=True)
class Pod:
    """What to compile for.

    Attributes:
      topology: such as v5e:4x4.
      slices: how many of them.
      fast: compile with the least effort.
    """

    topology: str
    slices: int = 1
    fast: bool = False

    @functools.cached_property
    def devices(self) -> Sequence[Any]:
        """Described only; see `chips.devices`."""
        return chips.devices(self.topology, self.slices)

    @property
    def chips(self) -> int:
        """In all slices."""
        return len(self.devices)


@dataclasses.dataclass(frozen=True)
class Report:
    """What a compiled step takes, per chip where nothing else is said.

    Attributes:
      mesh: sides of the mesh by axis.
      batch: samples of all chips.
      memory: bytes at the peak; `room` is what a chip has.
      parameters, optimizer: bytes of the parameters with their average, and of the optimizer.
      activations: bytes of the rest, gradients and buffers included.
      replicated: share of the parameters' bytes that each chip holds whole.
      work: FLOPs of a step over all chips.
      bound: the roofline.
      seconds: of compiling.
    """

    mesh: dict[str, int]
    batch: int
    memory: float
    room: float
    parameters: float
    optimizer: float
    activations: float
    replicated: float
    work: flops.Work
    bound: roofline.Roofline
    seconds: float


class DoesNotFitError(Exception):
    """The step needs more memory than a chip has; the message is one line."""


def run(config: ml_collections.ConfigDict, pod: Pod) -> bool:
    """Prints the table of `report`, or in one line that the step does not fit.

    Returns:
      Whether it fits.

    Raises:
      UserError: the configuration, or the mesh on that pod, is wrong.
    """
    try:
        found = report(config, pod)
    except DoesNotFitError as error:
        print(error)
        return False
    print("\n".join(lines(config, pod, found)))
    return True


def report(config: ml_collections.ConfigDict, pod: Pod) -> Report:
    """Compiles the step of `program.build` for a pod.

    Raises:
      UserError: the configuration, or the mesh on that pod, is wrong.
      DoesNotFitError: the compiler ran out of memory.
    """
    checks.check_sizes(config)
    mesh = sharding.make_mesh(config.mesh, pod.devices)
    sharding.check_batch(config.train.batch_size, mesh, config.train.microbatches)
    built, chip = program.build(config, mesh), chips.chip_of(pod.topology)
    given = built.arguments(example.batch(config).as_dict(), example.codec(config))
    started = time.perf_counter()
    compiled = _compile(built.update.lower(*given), pod, chip)
    seconds = time.perf_counter() - started
    memory, text, state = compiled.memory_analysis(), compiled.as_text(), given[0]
    assert memory is not None and text is not None, "libtpu tells both"
    peak = memory.peak_memory_in_bytes
    parameters = held((state.params, state.frozen, state.ema))
    optimizer = held(state.opt_state)
    work = flops.training_step(config)
    return Report(
        mesh=dict(mesh.shape),
        batch=config.train.batch_size,
        memory=peak,
        room=chip.hbm,
        parameters=parameters,
        optimizer=optimizer,
        activations=peak - parameters - optimizer,
        replicated=sharding.replicated(built.blueprint.shapes, built.shardings),
        work=work,
        bound=roofline.bound(hlo.Module(text), work, chip, list(mesh.devices.flat)),
        seconds=seconds,
    )


def lines(config: ml_collections.ConfigDict, pod: Pod, found: Report) -> list[str]:
    """The table of a report, a line each."""
    bound, work, gib = found.bound, found.work, chips.GIB
    mesh = " x ".join(f"{axis} {size}" for axis, size in found.mesh.items())
    slices = f" x {pod.slices} slices" if pod.slices > 1 else ""
    parts = ("compute", "memory", "ici", "dcn")
    times = " ".join(f"{name} {getattr(bound, name):.3f}" for name in parts)
    return [
        f"topology: {pod.topology}{slices}, {bound.chips} chips, mesh: {mesh}",
        f"batch: {found.batch} ({found.batch / bound.chips:g} per chip), "
        f"microbatches: {config.train.microbatches}, remat: {config.model.remat}, "
        f"optimizer: {config.optimizer.kind}",
        f"hbm per chip: {found.memory / gib:.1f}/{found.room / gib:.2f} GiB",
        f"parameters: {found.parameters / gib:.2f} GiB (with their average)",
        f"optimizer: {found.optimizer / gib:.2f} GiB",
        f"activations: {found.activations / gib:.2f} GiB (with gradients and buffers)",
        f"replicated bytes: {found.replicated:.1%}".replace("%", " %"),
        f"flops per step: {work.model:.3e} (with recomputation {work.hardware:.3e})",
        f"collective bytes per step: {bound.sent / 1e9:.2f} GB sent by each chip",
        f"roofline step time: {bound.seconds:.3f} s by {bound.limit} ({times})",
        f"mfu bound: {bound.mfu:.2f} (hfu {bound.mfu * work.hardware / work.model:.2f})",
        f"compile time: {found.seconds:.1f} s{' (fast)' if pod.fast else ''}",
    ]


def held(tree: Any) -> int:
    """Bytes that one chip holds of a tree of shapes with shardings."""
    return sum(
        jax.ShapeDtypeStruct(x.sharding.shard_shape(x.shape), x.dtype).size * x.dtype.itemsize
        for x in jax.tree.leaves(tree)
    )


def _compile(lowered: jax.stages.Lowered, pod: Pod, chip: chips.Chip) -> jax.stages.Compiled:
    try:
        return lowered.compile(compiler_options=FAST if pod.fast else None)
    except jax.errors.JaxRuntimeError as error:
        raise _too_large(str(error), pod, chip) from error


def _too_large(message: str, pod: Pod, chip: chips.Chip) -> Exception:
    """What the compiler says where memory is short, in one line; else the bug that it is."""
    if "RESOURCE_EXHAUSTED" not in message:
        return UserError(f"--topology {pod.topology}: {' '.join(message.split())[:300]}; report it")
    room = chip.hbm / chips.GIB
    used = [float(n) for n in re.findall(r"Used ([\d.]+)G of", message)]
    used += [float(n) for n in re.findall(r"\(([\d.]+)G\) exceeds", message)]
    over = f"needs {max(used):.1f} GiB, {max(used) - room:.1f} GiB too much" if used else message
    return DoesNotFitError(
        f"hbm per chip: does not fit {room:.2f} GiB of {pod.topology}: {' '.join(over.split())}; "
        "lower --batch, raise config.mesh.fsdp or config.train.microbatches, or set "
        "config.model.remat=full"
    )
