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
from collections.abc import Callable, Iterator

import numpy as np
from etils import epath

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from configs import base
from data_pipelines import generated, pipeline
from data_pipelines.conversion import local, plan
from data_pipelines.sources.recording import Frames

LAYOUTS = {"frame": 1, "4": 4, "8": 8, "16": 16, "episode": 1024}
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
        whole: dict[str, list[float]] = {name: [] for name in sets}
        reads: dict[str, list[float]] = {name: [] for name in sets}
        for repeat in range(args.repeats + 1):  # the first warms up
            for layout, found in sets.items():
                indices = order[repeat * args.windows :][: args.windows]
                whole[layout].append(cpu(load, found, indices) / len(indices))
                reads[layout].append(cpu(read, found, indices) / len(indices))
        print("frames a record | CPU ms a window | of which reading | bytes read / wanted")
        for layout, found in sets.items():
            times = [1e3 * statistics.median(side[layout][1:]) for side in (whole, reads)]
            share = amplification(found, order[:1000])
            print(f"{layout} | {times[0]:.2f} | {times[1]:.2f} | {share:.2f}", flush=True)


def dataset(root: pathlib.Path, frames_per_record: int) -> pipeline.WindowDataset:
    """The converted data set of one layout."""
    todo = plan.make_plan(str(root), "train")
    todo = dataclasses.replace(todo, frames_per_record=frames_per_record)
    out = epath.Path(root.parent / f"converted-{frames_per_record}")
    local.convert(todo, out)
    config = base.get_config().data
    config.update(root=str(out), frames=FRAMES, resolution=(256, 256), cache_mb=0, held_out=0.0)
    return pipeline.make_dataset(config, seed=0, batch_size=8)


def load(found: pipeline.WindowDataset, indices: np.ndarray) -> None:
    """Loads some windows, eight at a time."""
    for at in range(0, len(indices), 8):
        found.load(indices[at : at + 8])


def read(found: pipeline.WindowDataset, indices: np.ndarray) -> None:
    """Reads the files of their frames."""
    for frames, steps in places(found, indices):
        frames.read(steps)


def places(found: pipeline.WindowDataset, indices: np.ndarray) -> Iterator[tuple[Frames, range]]:
    """The episode's frames, and which of them, of some windows."""
    windows = found.windows.at(indices)
    for number, start in zip(windows.episodes.tolist(), windows.starts.tolist()):
        (frames,) = found.source.episode(number).cameras.values()
        yield frames, range(start, min(start + FRAMES, len(frames)))


def amplification(found: pipeline.WindowDataset, indices: np.ndarray) -> float:
    """Frames in the records that are read over frames wanted; they are of one size."""
    k = found.source.data_sets[0].source.frames_per_record
    wanted = touched = 0
    for frames, steps in places(found, indices):
        wanted += len(steps)
        end = min((steps[-1] // k + 1) * k, len(frames))
        touched += end - steps[0] // k * k
    return touched / wanted


def cpu(work: Callable[..., None], found: pipeline.WindowDataset, indices: np.ndarray) -> float:
    """CPU seconds of all threads."""
    began = time.process_time()
    work(found, indices)
    return time.process_time() - began


if __name__ == "__main__":
    main()
