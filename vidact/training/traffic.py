"""Bytes that a compiled program moves to and from a chip's memory.

XLA's own cost analysis counts the body of a loop once; here it counts as often as it runs. A kernel
is taken to read its operands and to write its results once, padding of the layout included; of an
array that it only slices or updates in place, that part. That is less than a kernel which reads
something twice, and more than one whose operands are still on the chip.
"""

import math
from collections.abc import Iterator

from vidact.training.hlo import COLLECTIVES, Instruction, Module

_FREE = {
    "parameter",
    "constant",
    "tuple",
    "get-tuple-element",
    "bitcast",
    "partition-id",
    "replica-id",
    "after-all",
    "opt-barrier",
    "iota",
}
# Passed on by a fusion as it is, or counted by itself.
_ELSEWHERE_COUNTED = ("parameter", "tuple", "custom-call", *COLLECTIVES)


def traffic(module: Module) -> float:
    """Bytes that a device moves in one run of a program."""
    return math.fsum(times * _moved(module, part, i) for part, i, times in module.run())


def _moved(module: Module, part: dict[str, Instruction], instruction: Instruction) -> float:
    """Bytes that a kernel reads and writes."""
    kind, operands = instruction.opcode, [part[n] for n in instruction.operands if n in part]
    given = [math.fsum(operand.held) for operand in operands]
    written = math.fsum(instruction.held)
    if kind in _FREE or kind.endswith("-done") or kind in ("while", "call", "conditional"):
        return 0.0
    if kind == "custom-call" and not operands:  # a buffer is set apart
        return 0.0
    if kind.endswith("-start"):  # the results name the operands again, then what is made
        place = 0 if kind == "copy-start" else len(operands)  # a copy's destination is first
        read = instruction.sizes[place] if any(given) else 0.0
        return read + instruction.held[place]
    if kind in ("dynamic-slice", "slice", "gather"):
        return (sum(instruction.sizes) if given[0] else 0) + written
    if kind == "dynamic-update-slice":
        return 2 * given[1]
    if kind != "fusion":
        return sum(given) + written
    return sum(
        _read(module, instruction, number, size) for number, size in enumerate(given)
    ) + _written(module, instruction, instruction.held)


def _inside(module: Module, fusion: Instruction) -> dict[str, Instruction]:
    return module.computations[fusion.called("calls") or ""]


def _read(module: Module, fusion: Instruction, number: int, size: float) -> float:
    """Bytes that a fusion reads of an operand: of one that is only sliced, the slices."""
    inside = _inside(module, fusion)
    name = next(
        i.name
        for i in inside.values()
        if i.opcode == "parameter" and i.text.startswith(f"{number})")
    )
    parts = 0.0
    for user, place in _users(inside, name):
        if user.opcode in ("dynamic-slice", "slice", "gather") and place == 0:
            parts += sum(user.sizes)
        elif user.opcode == "fusion":
            parts += _read(module, user, place, size)
        elif user.opcode not in _ELSEWHERE_COUNTED and not (
            user.opcode == "dynamic-update-slice" and place == 0
        ):
            return size
    return min(parts, size)


def _written(module: Module, fusion: Instruction, sizes: tuple[float, ...]) -> float:
    """Bytes that a fusion writes: where it updates an array in place, the update."""
    inside = _inside(module, fusion)
    root = next(i for i in inside.values() if i.root)
    if root.opcode == "custom-call":  # a collective is started or awaited
        return 0.0
    many = root.opcode == "tuple"
    results = [inside[n] for n in root.operands] if many else [root] * len(sizes)
    total = 0.0
    for result, held in zip(results, sizes, strict=True):
        while result.opcode == "bitcast" and result.operands[0] in inside:
            result = inside[result.operands[0]]
        if result.opcode in _ELSEWHERE_COUNTED:
            continue
        if result.opcode == "fusion" and len(result.sizes) == 1:
            total += _written(module, result, (held,))
            continue
        updated = result.opcode == "dynamic-update-slice"
        total += min(held, sum(inside[result.operands[1]].sizes)) if updated else held
    return total


def _users(inside: dict[str, Instruction], name: str) -> Iterator[tuple[Instruction, int]]:
    """What uses an instruction, through mere views of it, and as which operand."""
    for user in inside.values():
        if name in user.operands:
            if user.opcode == "bitcast" and not user.root:
                yield from _users(inside, user.name)
            else:
                yield user, user.operands.index(name)
