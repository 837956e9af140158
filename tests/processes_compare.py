"""Trains with one process and with several, and compares each step's batch and loss.

Examples:
  python -m tests.processes_compare --processes 4
  python -m tests.processes_compare --processes 2 --steps 10

The one process has as many devices as the others together; still their sums round otherwise.
Ends with `max loss diff 1 vs 4: ...`, and exit code 1 if that is above 1e-5 or a batch differs.
"""

import argparse
import pathlib
import sys
import tempfile

from tests import several, tiny
from vidact.training import trace

MOST = 1e-5
# Tiny's norms over groups of two channels are all but signs, which multiply what was rounded.
SMOOTH = {"model__decoder_channels": (64, 64)}


def main() -> None:
    """Runs both and compares them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--steps", type=int, default=50)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(0 if compare(pathlib.Path(folder), args.processes, args.steps) else 1)


def compare(folder: pathlib.Path, count: int, steps: int) -> bool:
    """Trains under `folder` with one process and with `count`; prints and returns whether equal."""
    data = tiny.write_data(folder)
    for number in (1, count):
        line = tiny.train_command(
            data,
            folder / f"run{number}",
            train__steps=steps,
            train__trace=True,
            **SMOOTH,
        )
        several.finish(line, number, folder / f"run{number}", devices=count // number)
    batches, difference = differences(folder / "run1", folder / f"run{count}", steps)
    print(f"steps: {steps} batches: {'the same' if batches else 'differ'}")
    print(f"max loss diff 1 vs {count}: {difference:.1e}")
    return batches and difference <= MOST


def differences(one: pathlib.Path, other: pathlib.Path, last: int) -> tuple[bool, float]:
    """Whether two work directories' traces hold the same batches, and how far losses are apart.

    All steps to `last` that `other` has made count; the first must have made them too, once.
    """
    expected = {row["step"]: row for row in trace.read(one)}
    rows = [row for row in trace.read(other) if row["step"] <= last]
    batches = {row["step"]: row["batch"] for row in rows}
    losses = [
        abs(float.fromhex(row["loss"]) - float.fromhex(expected[row["step"]]["loss"]))
        for row in rows
    ]
    same = batches == {step: expected[step]["batch"] for step in batches} and last in batches
    return same, max(losses)


if __name__ == "__main__":
    main()
