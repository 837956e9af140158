"""The HLO text of a compiled program, taken apart: its instructions, and how often each runs."""

import dataclasses
import math
import re
from collections.abc import Iterator

BYTES = {"pred": 1, "s4": 0.5, "u4": 0.5, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "token": 0}
_SHAPE = re.compile(r"([a-z]\w*)\[([\d,]*)\](?:\{([\d,]*)(?::([^}]*))?\})?")
_ELSEWHERE = re.compile(r"S\([1-9]\d*\)")
_LINE = re.compile(r"^\s+(ROOT )?%([\w.\-]+) = (\(.*?\)|\S+) ([a-z][\w\-]*)\((.*)$")
_HEAD = re.compile(r"^(ENTRY )?%([\w.\-]+) .*\{$")
COLLECTIVES = (
    "all-gather",
    "all-reduce",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)


@dataclasses.dataclass(frozen=True)
class Instruction:
    """A line of HLO.

    Attributes:
      name, opcode, operands: operands by name.
      sizes: bytes of each result.
      held: those of them in the chip's main memory; 0 for what stays on the chip.
      text: everything behind the opcode.
      root: whether it is its computation's result.
    """

    name: str
    opcode: str
    sizes: tuple[float, ...]
    held: tuple[float, ...]
    operands: tuple[str, ...]
    text: str
    root: bool

    def called(self, attribute: str) -> str | None:
        """The computation that an attribute names."""
        found = re.search(rf"\b{attribute}=%([\w.\-]+)", self.text)
        return found[1] if found else None


# An instruction, the computation that it stands in, and how often it runs.
Kernel = tuple[dict[str, Instruction], Instruction, int]


class Module:
    """A compiled program.

    Attributes:
      computations: by name, their instructions by name.
      entry: the computation that runs first.
    """

    def __init__(self, text: str):
        """Parses `jax.stages.Compiled.as_text()`."""
        self.computations: dict[str, dict[str, Instruction]] = {}
        self.entry = ""
        current: dict[str, Instruction] = {}
        for line in text.splitlines():
            head = _HEAD.match(line)
            if head:
                current = self.computations.setdefault(head[2], {})
                self.entry = head[2] if head[1] else self.entry
                continue
            found = _LINE.match(line)
            if found:
                current[found[2]] = _instruction(found)

    def run(self, name: str | None = None, times: int = 1) -> Iterator[Kernel]:
        """Every instruction that is a kernel of its own, with its computation and how often.

        Of a condition's branches the one of most instructions: a step taken, not one skipped.
        """
        part, seen = self.computations[name or self.entry], set[str]()
        for instruction in part.values():
            yield part, instruction, times
            if instruction.opcode == "fusion":
                yield from self._hidden(instruction, seen, times)
            elif instruction.opcode == "while":
                body = instruction.called("body")
                yield from self.run(body, times * self._rounds(instruction))
            elif instruction.opcode in ("call", "async-start"):
                yield from self.run(instruction.called("to_apply|calls"), times)
            elif instruction.opcode == "conditional":
                runs = [list(self.run(name, times)) for name in _branches(instruction.text)]
                yield from max(runs, key=len)

    def _hidden(self, fusion: Instruction, seen: set[str], times: int) -> Iterator[Kernel]:
        """Collectives within a fusion.

        Some run behind other kernels, in whose fusions they are named again. A sum of which each
        device keeps a part is an all-reduce in a fusion of its own; its channel says nothing.
        """
        name = fusion.called("calls") or ""
        inside, part = self.computations[name], name.startswith("all-reduce-scatter")
        for instruction in inside.values():
            if part and instruction.opcode == "all-reduce":  # what is kept the fusion writes
                kept = dataclasses.replace(instruction, opcode="reduce-scatter", held=())
                yield inside, kept, times
            elif instruction.opcode in COLLECTIVES:
                channel = attribute(instruction.text, "channel_id")
                if channel not in seen:
                    seen.add(channel)
                    yield inside, instruction, times

    def _rounds(self, loop: Instruction) -> int:
        """How often a loop runs: XLA counts loops up from 0 to a constant."""
        condition = self.computations[loop.called("condition") or ""]
        constants = [
            re.match(r"(\d+)\)", i.text) for i in condition.values() if i.opcode == "constant"
        ]
        numbers = [int(found[1]) for found in constants if found]
        if len(numbers) != 1:
            raise ValueError(f"{loop.name}: how often it runs is not known")
        return numbers[0]


def attribute(text: str, name: str) -> str:
    """What stands behind an attribute whose name begins so; "" without one."""
    found = re.search(rf"\b{name}\w*=(?:\{{(.*?)\}}|(\w+))", text)
    return (found[1] or found[2]) if found else ""


def _branches(text: str) -> list[str]:
    """The computations among which a condition chooses."""
    two = re.findall(r"\b(?:true|false)_computation=%([\w.\-]+)", text)
    return two or re.findall(r"%([\w.\-]+)", attribute(text, "branch_comput"))


def _instruction(found: re.Match) -> Instruction:
    text, shapes = found[5], _SHAPE.findall(found[3])
    arguments = text[: _closing(text)]
    return Instruction(
        name=found[2],
        opcode=found[4],
        sizes=tuple(_size(*shape) for shape in shapes),
        held=tuple(0.0 if _ELSEWHERE.search(shape[3]) else _size(*shape) for shape in shapes),
        operands=tuple(re.findall(r"%([\w.\-]+)", arguments)),
        text=text,
        root=bool(found[1]),
    )


def _closing(text: str) -> int:
    """Where the arguments end."""
    depth = 1
    for place, letter in enumerate(text):
        depth += (letter in "({") - (letter in ")}")
        if not depth:
            return place
    return len(text)


def _size(dtype: str, shape: str, order: str, tiling: str) -> float:
    """Bytes of an array, rows and columns padded to its tile."""
    sides = [int(side) for side in shape.split(",") if side]
    tile = re.match(r"T\((?:(\d+),)?(\d+)\)", tiling)
    if tile and order:
        minor = [int(axis) for axis in order.split(",")]
        for axis, multiple in zip(minor, (tile[2], tile[1] or 1)):
            sides[axis] = math.ceil(sides[axis] / int(multiple)) * int(multiple)
    width = BYTES.get(dtype) or int(re.sub(r"\D", "", dtype.split("e")[0]) or 8) / 8
    return float(math.prod(sides) * width)
