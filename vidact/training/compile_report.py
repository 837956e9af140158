"""Compiles a program for a pod that is not there, and says what it takes."""

import dataclasses
import functools
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import jax

from vidact.errors import UserError
from vidact.training import chips, compiled, hlo, roofline
from vidact.training.checked import Checked

# A little less effort than usual takes minutes where the usual takes most of an hour, for the same
# bytes and bound (docs/tpu.md). At -0.5 XLA keeps nothing on the chip between kernels.
FAST: dict[str, Any] = {"exec_time_optimization_effort": -0.1}

DO_LESS = (
    "lower --batch, raise config.mesh.fsdp or config.train.microbatches, or set "
    "config.model.remat=full"
)
SPLIT_MORE = "raise config.mesh.fsdp, set config.train.freeze, or take a larger --topology"


@dataclasses.dataclass(frozen=True)
class Pod:
    """What to compile for.

    Attributes:
      topology: such as v5e:4x4.
      slices: how many of them.
      fast: compile with less effort.
      keep: a folder of programs that were compiled before, see `compiled.compiled`.
    """

    topology: str
    slices: int = 1
    fast: bool = False
    keep: pathlib.Path | None = None

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
    """What a compiled program takes, per chip where nothing else is said.

    Attributes:
      memory: bytes that the program takes; `room` is what a chip has.
      parameters, optimizer: bytes of the parameters with their average, and of the optimizer.
      activations: bytes of the rest: gradients, buffers and the code included.
      bound: the roofline.
      seconds: of compiling.
    """

    memory: float
    room: float
    parameters: float
    optimizer: float
    activations: float
    bound: roofline.Roofline
    seconds: float


class DoesNotFitError(Exception):
    """The program needs more memory than a chip has; the message is one line."""


def run(checked: Checked, pod: Pod) -> bool:
    """Prints the table of `report`, or in one line that the program does not fit.

    Returns:
      Whether it fits.
    """
    try:
        found = report(checked, pod)
    except DoesNotFitError as error:
        print(error)
        return False
    print("\n".join(lines(checked, pod, found)))
    return True


def report(checked: Checked, pod: Pod) -> Report:
    """Compiles a program for a pod.

    Raises:
      DoesNotFitError: the compiler ran out of memory, the program needs more than a chip has, or
        already what it is given does, which takes no compiling to know.
    """
    chip = chips.chip_of(pod.topology)
    parameters, optimizer = held(checked.parameters), held(checked.optimizer)
    if parameters + optimizer > chip.hbm:
        whole = f"parameters and optimizer alone need {_over(parameters + optimizer, chip)}"
        raise _does_not_fit(whole, SPLIT_MORE, pod, chip)
    found = _compiled(checked.jitted.lower(*checked.arguments), pod, chip)
    if found.memory > chip.hbm:
        raise _does_not_fit(f"needs {_over(found.memory, chip)}", DO_LESS, pod, chip)
    devices = list(checked.mesh.devices.flat)
    return Report(
        memory=found.memory,
        room=chip.hbm,
        parameters=parameters,
        optimizer=optimizer,
        activations=found.memory - parameters - optimizer,
        bound=roofline.bound(hlo.Module(found.text), checked.work, chip, devices),
        seconds=found.seconds,
    )


def lines(checked: Checked, pod: Pod, found: Report) -> list[str]:
    """The table of a report, a line each; what the program does not have is left out."""
    bound, work, gib = found.bound, checked.work, chips.GIB
    trains = checked.optimizer is not None
    mesh = " x ".join(f"{axis} {size}" for axis, size in checked.mesh.shape.items())
    slices = f" x {pod.slices} slices" if pod.slices > 1 else ""
    parts = ("compute", "memory", "ici", "dcn")
    times = " ".join(f"{name} {getattr(bound, name):.3f}" for name in parts)
    table = [
        f"program: {checked.name}",
        f"topology: {pod.topology}{slices}, {bound.chips} chips, mesh: {mesh}",
        f"batch: {checked.batch} ({checked.batch / bound.chips:g} per chip), {checked.settings}",
        f"hbm per chip: {found.memory / gib:.1f}/{found.room / gib:.2f} GiB",
        f"parameters: {found.parameters / gib:.2f} GiB{' (with their average)' if trains else ''}",
    ]
    if trains:
        table.append(f"optimizer: {found.optimizer / gib:.2f} GiB")
    gradients = "gradients and " if trains else ""
    table.append(f"activations: {found.activations / gib:.2f} GiB (with {gradients}buffers)")
    if checked.replicated is not None:
        table.append(f"replicated bytes: {checked.replicated:.1%}".replace("%", " %"))
    return [
        *table,
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


def _compiled(lowered: jax.stages.Lowered, pod: Pod, chip: chips.Chip) -> compiled.Compiled:
    where = f"{pod.topology} x {pod.slices}"
    try:
        return compiled.compiled(lowered, where, FAST if pod.fast else {}, pod.keep)
    except jax.errors.JaxRuntimeError as error:
        raise _too_large(str(error), pod, chip) from error


def _too_large(message: str, pod: Pod, chip: chips.Chip) -> Exception:
    """What the compiler says where memory is short, in one line; else the bug that it is."""
    if "RESOURCE_EXHAUSTED" not in message:
        return UserError(f"--topology {pod.topology}: {' '.join(message.split())[:300]}; report it")
    used = [float(n) for n in re.findall(r"Used ([\d.]+)G of", message)]
    used += [float(n) for n in re.findall(r"\(([\d.]+)G\) exceeds", message)]
    over = f"needs {_over(max(used) * chips.GIB, chip)}" if used else " ".join(message.split())
    return _does_not_fit(over, DO_LESS, pod, chip)


def _over(used: float, chip: chips.Chip) -> str:
    return f"{used / chips.GIB:.1f} GiB, {(used - chip.hbm) / chips.GIB:.1f} GiB too much"


def _does_not_fit(why: str, remedy: str, pod: Pod, chip: chips.Chip) -> DoesNotFitError:
    return DoesNotFitError(
        f"hbm per chip: does not fit {chip.hbm / chips.GIB:.2f} GiB of {pod.topology}: {why}; "
        f"{remedy}"
    )
