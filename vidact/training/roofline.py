"""A lower bound of a step's time: the longest of what its chips, memory and network need."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from vidact.training.chips import Chip
from vidact.training.flops import Work
from vidact.training.hlo import Module
from vidact.training.messages import Message, messages
from vidact.training.traffic import traffic


@dataclasses.dataclass(frozen=True)
class Roofline:
    """Seconds of one step that nothing can undercut.

    Attributes:
      chips: in all slices.
      compute: FLOPs, remat's included, at the chips' peak.
      memory: traffic of each chip's memory at its bandwidth.
      ici, dcn: messages within a slice and between slices.
      sent: bytes that each chip sends.
      ideal: the model's FLOPs at the peak.
    """

    chips: int
    compute: float
    memory: float
    ici: float
    dcn: float
    sent: float
    ideal: float

    @property
    def seconds(self) -> float:
        """The longest; the rest may hide behind it."""
        return max(self.compute, self.memory, self.ici, self.dcn)

    @property
    def mfu(self) -> float:
        """Upper bound of the model FLOPs utilisation."""
        return self.ideal / self.seconds

    @property
    def limit(self) -> str:
        """What is the longest."""
        return max(("compute", "memory", "ici", "dcn"), key=lambda name: getattr(self, name))


def bound(module: Module, work: Work, chip: Chip, devices: Sequence[Any]) -> Roofline:
    """The roofline of a compiled step.

    Args:
      module: the compiled program.
      work: FLOPs of the step over all chips.
      chip: what each can do.
      devices: in the program's order, with `coords` and, for several slices, `slice_index`.
    """
    peak = chip.flops * len(devices)
    times, sent = {"ici": 0.0, "dcn": 0.0}, 0.0
    for message in messages(module):
        size = message.size * message.times
        network, bandwidth = _network(message, chip, devices)
        times[network] += size / bandwidth
        sent += size
    return Roofline(
        chips=len(devices),
        compute=work.hardware / peak,
        memory=traffic(module) / chip.hbm_bandwidth,
        sent=sent,
        ideal=work.model / peak,
        **times,
    )


def _network(message: Message, chip: Chip, devices: Sequence[Any]) -> tuple[str, float]:
    """Which network a message takes, and its bytes per second and chip there.

    Within a slice only the links along those sides of the torus count in which a group extends.
    """
    if message.slices > 1:
        return "dcn", chip.dcn
    sides = 1
    for group in message.groups:
        members = [devices[number] for number in group]
        if len({getattr(member, "slice_index", None) for member in members}) > 1:
            return "dcn", chip.dcn
        extents = zip(*(member.coords for member in members))
        sides = max(sides, sum(len(set(extent)) > 1 for extent in extents))
    return "ici", chip.ici * sides / chip.sides
