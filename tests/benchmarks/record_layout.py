"""What a window of 35 frames costs by how many frames a record holds: 1, 8, 16 or an episode's.

Examples:
  python tests/benchmarks/record_layout.py
  python tests/benchmarks/record_layout.py --repeats 3 --windows 16

Generated episodes of 60 to 129 frames (256 x 256, JPEG quality 95, about 24 KB each) are converted
with each layout, and random windows are read through the pipeline, everything in page cache, in
one thread. CPU ms are medians over repeats in which the layouts take turns.
"""

import argparse
import dataclasses
import pathlib
import statistics
import sys
import tempfile
import time

import numpy as np
from etils import epath

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from configs import base
from data_pipelines import generated, pipeline
from data_pipelines.conversion import local, plan

LAYOUTS = {"frame": 1, "segment of 8": 8, "segment of 16": 16, "episode": 1024}
FRAMES = 35


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--windows", type=int, default=40, help="of a repeat")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = pathlib.Path(name) / "made" / "1.0.0"
        generated.write(root, args.episodes, (60, 129))
        sets = {name: dataset(root, k) for name, k in LAYOUTS.items()}
        order = np.random.default_rng(0).permutation(len(sets["frame"]))
        seconds: dict[str, list[float]] = {name: [] for name in sets}
        for repeat in range(args.repeats + 1):
            for layout, found in sets.items():
                indices = order[repeat * args.windows :][: args.windows]
                seconds[layout].append(cpu(found, indices))
    for layout, measured in seconds.items():
        kept = sorted(1e3 * value / args.windows for value in measured[1:])  # the first warms up
        print(f"{layout}: {statistics.median(kept):.2f} CPU ms a window, {kept[0]:.2f} at least")


def dataset(root: pathlib.Path, frames_per_record: int) -> pipeline.WindowDataset:
    """The converted data set of one layout."""
    todo = plan.make_plan(str(root), "train")
    todo = dataclasses.replace(todo, frames_per_record=frames_per_record)
    out = epath.Path(root.parent / f"converted-{frames_per_record}")
    local.convert(todo, out)
    config = base.get_config().data
    config.update(root=str(out), frames=FRAMES, resolution=(256, 256), cache_mb=0, held_out=0.0)
    return pipeline.make_dataset(config, seed=0, batch_size=8)


def cpu(found: pipeline.WindowDataset, indices: np.ndarray) -> float:
    """CPU seconds of loading some windows, eight at a time."""
    began = time.process_time()
    for at in range(0, len(indices), 8):
        found.load(indices[at : at + 8])
    return time.process_time() - began


if __name__ == "__main__":
    main()
