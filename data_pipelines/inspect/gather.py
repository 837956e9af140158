"""One pass over all numbers of a data set: what its page says of it as a whole."""

import collections
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import tqdm
from jaxtyping import Float, Int

from data_pipelines.measured import Measured
from data_pipelines.sources.checks import NoSteps
from data_pipelines.subject import Subject
from vidact.actions import Statistics
from vidact.errors import UserError


class Extremes:
    """Counts, per column, how often the least and the greatest value occur."""

    def __init__(self) -> None:
        self._rows = 0
        self._ends: list[np.ndarray] = []
        self._counts: list[np.ndarray] = []

    def add(self, values: Float[np.ndarray, "n D"]) -> None:
        """Takes n >= 1 rows."""
        ends = [values.min(0), values.max(0)]
        counts = [(values == end).sum(0) for end in ends]
        if self._rows:
            for i, better in enumerate((np.less, np.greater)):
                old, new = self._ends[i], ends[i]
                kept = np.where(better(new, old), 0, self._counts[i])
                counts[i] = kept + np.where(better(old, new), 0, counts[i])
                ends[i] = np.where(better(new, old), new, old)
        self._rows, self._ends, self._counts = self._rows + len(values), ends, counts

    def shares(self) -> Float[np.ndarray, " D"]:
        """Share of the values that are the least or the greatest, 0 to 1; 1 for a constant."""
        low, high = self._ends
        counts = np.where(low == high, self._counts[0], self._counts[0] + self._counts[1])
        return counts / self._rows


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gathered:
    """What was found.

    Attributes:
      lengths: steps of each episode that can be read.
      statistics: 'action' and 'state' over their steps; empty if there is no step.
      extremes: for the same names the shares of `Extremes`.
      instructions: how many episodes begin with each text.
      bad: episode -> why it cannot be read.
    """

    lengths: Int[np.ndarray, " E"]
    statistics: Mapping[str, Statistics]
    extremes: Mapping[str, Sequence[float]]
    instructions: collections.Counter[str]
    bad: Mapping[int, str]


def gather(subject: Subject) -> Gathered:
    """Reads all episodes without their frames; those that cannot be read are told, not raised."""
    measured, extremes = Measured(), {"action": Extremes(), "state": Extremes()}
    lengths, instructions, bad = [], collections.Counter[str](), {}
    for index in tqdm.trange(len(subject.source), desc="reading", unit="episode", delay=5):
        try:
            episode = subject.numbers(index)
        except NoSteps:
            lengths.append(0)
            continue
        except UserError as error:
            bad[index] = str(error)
            continue
        lengths.append(len(episode))
        if not len(episode):
            continue
        measured.add(episode)
        extremes["action"].add(episode.actions)
        extremes["state"].add(episode.states)
        instructions[episode.instructions[0].strip()] += 1
    found = any(lengths)
    return Gathered(
        lengths=np.array(lengths, np.int64),
        statistics=measured.finish(subject.source.name) if found else {},
        extremes={k: v.shares().tolist() for k, v in extremes.items()} if found else {},
        instructions=instructions,
        bad=bad,
    )
