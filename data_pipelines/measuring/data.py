"""The data sets that measurements read, generated and converted, and their configuration."""

import dataclasses
import json
import pathlib

import ml_collections
import numpy as np
from etils import epath

from data_pipelines import generated, pipeline
from data_pipelines.conversion import local
from data_pipelines.conversion.plan import make_plan
from data_pipelines.loading import WindowDataset
from data_pipelines.sources import converted
from data_pipelines.sources.converted_shard import frames_file, steps_file
from vidact import command, store

BASE = pathlib.Path(__file__).resolve().parents[2] / "configs/base.py"
STEPS = (60, 129)
FRAMES, SIZE, BATCH = 35, 256, 8


def make(folder: pathlib.Path, episodes: int, size: int = SIZE, shards: int | None = None) -> None:
    """Writes `raw/1.0.0` (RLDS) and `converted` below `folder`, unless they are there."""
    raw, out = folder / "raw" / "1.0.0", folder / "converted"
    if not raw.exists():
        generated.write(raw, episodes, STEPS, size)
    if not (out / converted.DESCRIPTION).exists():
        plan = make_plan(str(raw), "train")
        local.convert(dataclasses.replace(plan, shards=shards or plan.shards), epath.Path(out))


def multiplied(source: pathlib.Path, folder: pathlib.Path, times: int) -> None:
    """A converted data set of so many times the shards: all are links to those of `source`.

    Its index is that of a data set of this size, and so is what reading it keeps in memory.
    """
    told = json.loads((source / converted.DESCRIPTION).read_text())
    here, total = len(told["shards"]), times * len(told["shards"])
    folder.mkdir(parents=True)
    for number in range(total):
        for name in (steps_file, frames_file):
            (folder / name(number, total)).symlink_to(source / name(number % here, here))
    with store.reader(source / converted.INDEX) as reader:
        store.save(folder / converted.INDEX, {"lengths": np.tile(reader.get("lengths"), times)})
    told |= {"shards": told["shards"] * times, "checksum": f"{told['checksum']} x {times}"}
    (folder / converted.DESCRIPTION).write_text(json.dumps(told))


def mixture(source: pathlib.Path, folder: pathlib.Path, count: int) -> ml_collections.ConfigDict:
    """config.data of a mixture of data sets that are all links to one."""
    folder.mkdir(exist_ok=True)
    sources = [folder / f"set-{number}" for number in range(count)]
    for path in sources:
        if not path.exists():
            path.symlink_to(source)
    found = config(source)
    found.sources = tuple((str(path), 1.0) for path in sources)
    return found


def config(root: pathlib.Path | str) -> ml_collections.ConfigDict:
    """config.data of all measurements: windows of 35 frames, no memory for episodes or frames.

    A data set that is larger than the memory is what they are about: a hit would measure nothing.
    """
    found = command.load_config(BASE).data
    found.update(root=str(root), frames=FRAMES, resolution=(SIZE, SIZE), fps=0.0, cache_mb=0)
    return found


def windows(data: ml_collections.ConfigDict) -> WindowDataset:
    """The data set as batches, in this process alone."""
    return pipeline.make_dataset(data, seed=0, batch_size=BATCH)
