"""Peak memory of a process that reads batches: run as a program of its own by `peak_mb`.

python -m data_pipelines.measuring.memory DIR BATCHES
"""

import pathlib
import re
import subprocess
import sys

import numpy as np

from data_pipelines import opening, survey
from data_pipelines.bad_records import BadRecords
from data_pipelines.data_set import DataSet
from data_pipelines.measuring import data
from data_pipelines.windows import split_episodes

_BATCHES = 64


def peak_mb(root: pathlib.Path, batches: int = _BATCHES) -> float:
    """Peak of the resident memory, in 10^6 bytes, of reading batches under a global shuffle."""
    command = [sys.executable, "-m", __name__, str(root), str(batches)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def share_survey(small: pathlib.Path, large: pathlib.Path) -> None:
    """Keeps for `large`, whose shards are those of `small`, what a pass over `small` finds.

    A pass over a million episodes is done once and takes an hour; what is measured comes after it.
    """
    one, other = (opening.open_source(data.config(root)).data_sets[0] for root in (small, large))
    bad = BadRecords("error")
    found = survey.survey(one, _train(one), bad)
    lengths = other.lengths()
    assert lengths is not None
    survey.keep(other, _train(other), bad, survey.Survey(lengths, found.statistics))


def _train(data_set: DataSet) -> np.ndarray:
    return split_episodes(len(data_set), data.config("").held_out)[0]


def main(root: str, batches: str) -> None:
    """Reads, and prints the peak in MB."""
    for _ in data.windows(data.config(root)).from_step(0, int(batches)):
        pass
    status = pathlib.Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    print(int(found[1]) * 1024 / 1e6)


if __name__ == "__main__":
    main(*sys.argv[1:])
