"""What the chips of a compiled program send each other."""

import dataclasses
import math
import re

import numpy as np

from vidact.training.hlo import COLLECTIVES, Instruction, Module


@dataclasses.dataclass(frozen=True)
class Message:
    """What every device of a group sends in one collective.

    Attributes:
      kind: all-gather and so on.
      size: bytes that leave a device, by the ring algorithm.
      groups: devices that talk to each other, by their number in the program; none are named of
        those that talk from slice to slice.
      times: how often a step does it.
      slices: how many slices talk to each other.
    """

    kind: str
    size: float
    groups: tuple[tuple[int, ...], ...]
    times: int
    slices: int = 1


def messages(module: Module) -> list[Message]:
    """The collectives of one run."""
    found = []
    for part, instruction, times in module.run():
        kind = instruction.opcode.removesuffix("-start")
        if kind == "send":
            found.append(_between_slices(instruction, times))
        elif kind in COLLECTIVES:
            names = (name for name in instruction.operands if name in part)
            given = math.fsum(size for name in names for size in part[name].sizes)
            groups = _groups(instruction.text)
            found.append(Message(kind, _sent(kind, given, len(groups[0])), groups, times))
    return found


def _groups(text: str) -> tuple[tuple[int, ...], ...]:
    """The groups of a collective: {{0,1},{2,3}}, [2,2]<=[4], mesh['a'=2,'b'=2] {'b'}, or pairs."""
    if listed := re.search(r"(?:replica_groups|source_target_pairs)=\{(\{[\d,{}]*\})\}", text):
        return tuple(
            tuple(map(int, group.split(","))) for group in re.findall(r"\{([\d,]+)\}", listed[1])
        )
    iota = r"\[([\d,]+)\](?:T\(([\d,]+)\))?"
    mesh = rf"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\({iota}\))? ?\{{([^}}]*)\}}"
    if found := re.search(mesh, text):
        axes = dict(re.findall(r"'(\w+)'=(\d+)", found[1]))
        sides = [int(side) for side in axes.values()]
        ours = [list(axes).index(name) for name in re.findall(r"'(\w+)'", found[4])]
        numbers = _numbers(found[2] or str(math.prod(sides)), found[3]).reshape(sides)
        numbers = np.moveaxis(numbers, ours, range(-len(ours), 0))
        return _rows(numbers, math.prod(sides[axis] for axis in ours))
    if found := re.search(rf"replica_groups=\[\d+,(\d+)\]<={iota}", text):
        return _rows(_numbers(found[2], found[3]), int(found[1]))
    raise ValueError(f"{text[:200]}: who talks to whom is not known")


def _between_slices(send: Instruction, times: int) -> Message:
    """What a chip hands to its host for the chips of other slices, who do the same."""
    kind = re.search(r'_xla_megascale_transfer_type="(\w+)"', send.text)
    target = re.search(r"_xla_megascale_target=(?:\"\{([\d,]+)\}x|\{\{\d+->)", send.text)
    if not kind or not target:
        raise ValueError(f"{send.text[:200]}: to whom it is sent is not known")
    name = kind[1].lower().replace("_", "-")
    slices = len(target[1].split(",")) if target[1] else 2  # or from one chip to one other
    return Message(name, _sent(name, send.sizes[0], slices), (), times, slices)


def _numbers(sides: str, order: str | None) -> np.ndarray:
    """0, 1, 2, ... in an array of `sides`, its axes then in `order`."""
    shape = [int(side) for side in sides.split(",")]
    numbers = np.arange(math.prod(shape)).reshape(shape)
    return numbers.transpose([int(axis) for axis in order.split(",")]) if order else numbers


def _rows(numbers: np.ndarray, size: int) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(map(int, row)) for row in numbers.reshape(-1, size))


def _sent(kind: str, given: float, size: int) -> float:
    """Bytes that leave each device of a group of `size`, for operands of `given` bytes."""
    others = size - 1
    return {
        "all-gather": given * others,
        "all-reduce": 2 * given * others / size,
        "reduce-scatter": given * others / size,
        "all-to-all": given * others / size,
        "ragged-all-to-all": given * others / size,
    }.get(kind, given)
