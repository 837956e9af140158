"""Prints the statistics of a data set's actions and states, and writes them for later trainings.

Examples:
  python -m data_pipelines.statistics DIR
  python -m data_pipelines.statistics DIR --registry auto --out statistics.json
  python -m data_pipelines.statistics DIR --split val --action action --state observation/state

They are taken over every step of every episode of the split, in the units of the data set. No frame
is decoded. Without --registry, the features are taken as they are: what is called action and state.
"""

import argparse
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import tqdm

from data_pipelines import choosing
from data_pipelines.bad_records import POLICIES, BadRecords
from data_pipelines.measured import Measured
from data_pipelines.subject import Subject
from vidact import actions, command
from vidact.actions import Statistics
from vidact.errors import UserError

FIELDS = ("q01", "q99", "mean", "std", "min", "max")


def main(arguments: list[str]) -> None:
    """Runs the command.

    Raises:
      UserError: the data set or an episode cannot be read, or an argument is wrong.
    """
    parser = command.parser(__doc__, "python -m data_pipelines.statistics")
    choosing.add_arguments(parser)
    parser.add_argument("--out", type=pathlib.Path, help="a JSON file; only printed by default")
    parser.add_argument(
        "--on-bad-record",
        choices=POLICIES,
        default="error",
        help="what to do with an episode that cannot be read; skip names it",
    )
    options: argparse.Namespace = parser.parse_args(arguments)
    if options.out:
        command.check_writable(options.out.parent)
    chosen, bad = choosing.choose(options), BadRecords(options.on_bad_record)
    if not any(chosen.names.values()):
        raise UserError(f"{chosen.source.name}: no action and no state; choose with --action KEY")
    found = measure(chosen, bad)
    lines = [*table(found, chosen.names), *(f"bad: {reason}" for reason in bad.reasons)]
    if options.out:
        actions.save_statistics(options.out, found)
        lines.append(f"wrote {options.out}")
    command.show("\n".join(lines))


def measure(chosen: Subject, bad: BadRecords) -> dict[str, Statistics]:
    """Statistics of 'action' and 'state' over all episodes.

    Raises:
      UserError: an episode cannot be read and `bad` does not skip it, or there is no step.
    """
    measured = Measured()
    for index in tqdm.trange(len(chosen.source), desc="reading", unit="episode", delay=5):
        try:
            episode = chosen.numbers(index)
        except UserError as error:
            bad.note(error)
            continue
        measured.add(episode)
    return measured.finish(chosen.source.name)


def table(found: Mapping[str, Statistics], names: Mapping[str, Sequence[str]]) -> list[str]:
    """Aligned lines: for each of 'action' and 'state' a heading and a line per column."""
    cells = [cell for key, statistics in found.items() for cell in _cells(key, statistics, names)]
    wide = max(len(cell[0]) for cell in cells)
    return [f"{name:{wide}} {' '.join(f'{v:>10}' for v in values)}" for name, *values in cells]


def _cells(key: str, s: Statistics, names: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
    if not names[key]:
        return
    yield [f"{key}, {s.count} steps", *FIELDS]
    for i, name in enumerate(names[key]):
        yield [f"  {name}", *(f"{float(getattr(s, field)[i]):.4g}" for field in FIELDS)]


if __name__ == "__main__":
    command.run(main)
