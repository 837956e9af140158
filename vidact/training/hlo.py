"""What a compiled program moves, read from its HLO text: memory traffic and messages.

XLA's own cost analysis counts the body of a loop once; here it counts as often as it runs. A kernel
is taken to read its operands and to write its results once, padding of the layout included; of an
array that it only slices or updates in place, that part. That is less than a kernel which reads
something twice, and more than one whose operands are still on the chip.
"""

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator

import numpy as np

BYTES = {"pred": 1, "s4": 0.5, "u4": 0.5, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "token": 0}
_SHAPE = re.compile(r"([a-z]\w*)\[([\d,]*)\](?:\{([\d,]*)(?::([^}]*))?\})?")
_ELSEWHERE = re.compile(r"S\([1-9]\d*\)")
_LINE = re.compile(r"^\s+(ROOT )?%([\w.\-]+) = (\(.*?\)|\S+) ([a-z][\w\-]*)\((.*)$")
_HEAD = re.compile(r"^(ENTRY )?%([\w.\-]+) .*\{$")
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
_COLLECTIVES = (
    "all-gather",
    "all-reduce",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)


# Passed on by a fusion as it is, or counted by itself.
_ELSEWHERE_COUNTED = ("parameter", "tuple", "custom-call", *_COLLECTIVES)


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


# An instruction, the computation that it stands in, and how often it runs.
Kernel = tuple[dict[str, Instruction], Instruction, int]


class Module:
    """A compiled program."""

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

    def traffic(self) -> float:
        """Bytes that a device moves to and from its memory in one run."""
        return self._total(self._run())

    def _total(self, run: Iterable[Kernel]) -> float:
        return math.fsum(times * self._moved(part, i) for part, i, times in run)

    def messages(self) -> list[Message]:
        """The collectives of one run."""
        found = []
        for part, instruction, times in self._run():
            kind = instruction.opcode.removesuffix("-start")
            if kind == "send":
                found.append(_between_slices(instruction, times))
            elif kind in _COLLECTIVES:
                names = (name for name in instruction.operands if name in part)
                given = math.fsum(size for name in names for size in part[name].sizes)
                groups = _groups(instruction.text)
                found.append(Message(kind, _sent(kind, given, len(groups[0])), groups, times))
        return found

    def _run(self, name: str | None = None, times: int = 1) -> Iterator[Kernel]:
        """Every instruction that is a kernel of its own, with its computation and how often.

        Of a condition's branches the one that moves most: a step that is taken, not one skipped.
        """
        part, seen = self.computations[name or self.entry], set[str]()
        for instruction in part.values():
            yield part, instruction, times
            if instruction.opcode == "fusion":
                yield from self._hidden(instruction, seen, times)
            elif instruction.opcode == "while":
                body = instruction.called("body")
                yield from self._run(body, times * self._rounds(instruction))
            elif instruction.opcode in ("call", "async-start"):
                yield from self._run(instruction.called("to_apply|calls"), times)
            elif instruction.opcode == "conditional":
                runs = [list(self._run(name, times)) for name in _branches(instruction.text)]
                yield from max(runs, key=self._total)

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
            elif instruction.opcode in _COLLECTIVES:
                channel = _attribute(instruction.text, "channel_id")
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

    def _moved(self, part: dict[str, Instruction], instruction: Instruction) -> float:
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
            self._read(instruction, number, size) for number, size in enumerate(given)
        ) + self._written(instruction, instruction.held)

    def _inside(self, fusion: Instruction) -> dict[str, Instruction]:
        return self.computations[fusion.called("calls") or ""]

    def _read(self, fusion: Instruction, number: int, size: float) -> float:
        """Bytes that a fusion reads of an operand: of one that is only sliced, the slices."""
        inside = self._inside(fusion)
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
                parts += self._read(user, place, size)
            elif user.opcode not in _ELSEWHERE_COUNTED and not (
                user.opcode == "dynamic-update-slice" and place == 0
            ):
                return size
        return min(parts, size)

    def _written(self, fusion: Instruction, sizes: tuple[float, ...]) -> float:
        """Bytes that a fusion writes: where it updates an array in place, the update."""
        inside = self._inside(fusion)
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
                total += self._written(result, (held,))
                continue
            updated = result.opcode == "dynamic-update-slice"
            total += min(held, sum(inside[result.operands[1]].sizes)) if updated else held
        return total


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


def _users(inside: dict[str, Instruction], name: str) -> Iterator[tuple[Instruction, int]]:
    """What uses an instruction, through mere views of it, and as which operand."""
    for user in inside.values():
        if name in user.operands:
            if user.opcode == "bitcast" and not user.root:
                yield from _users(inside, user.name)
            else:
                yield user, user.operands.index(name)


def _attribute(text: str, name: str) -> str:
    found = re.search(rf"\b{name}\w*=(?:\{{(.*?)\}}|(\w+))", text)
    return (found[1] or found[2]) if found else ""


def _branches(text: str) -> list[str]:
    """The computations among which a condition chooses."""
    two = re.findall(r"\b(?:true|false)_computation=%([\w.\-]+)", text)
    return two or re.findall(r"%([\w.\-]+)", _attribute(text, "branch_comput"))


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
