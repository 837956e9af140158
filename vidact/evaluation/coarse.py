"""Coarse actions: what a trained model samples for recorded windows, from which a refiner learns.

A model errs less on windows that it was trained on. Where there are demonstrations enough, hold
many out of its training: coarse actions are written for them too.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import tqdm

from data_pipelines import coarse, pipeline
from data_pipelines.loading import WindowDataset
from data_pipelines.sources.opening import KINDS
from data_pipelines.windows import Windows
from vidact.encoders.encode import encode
from vidact.errors import UserError
from vidact.evaluation import members, opening, sampling
from vidact.evaluation.metrics.actions import mean_absolute_error
from vidact.evaluation.policy import batches
from vidact.inputs import observe
from vidact.training.runs import Run

BATCH = 16
MODE = "joint"
# What of config.evaluate decides what is sampled.
SAMPLING = ("sample_steps", "action_steps", "video_guidance", "action_guidance", "seed")


def beside(root: str) -> pathlib.Path:
    """Where the coarse actions of a data set are written by default.

    Raises:
      UserError: `root` is no folder on a disk.
    """
    kind, _, rest = root.partition(":")
    folder = pathlib.Path(rest if kind in KINDS else root).absolute()
    if not root or not folder.exists():
        raise UserError(
            f"--write-coarse: config.data.root={root!r} is no folder that a file could lie beside; "
            "give --write-coarse FILE"
        )
    return folder.with_name(f"{folder.name}-coarse.safetensors")


def write(run: Run, path: pathlib.Path, count: int) -> tuple[int, int]:
    """Samples the actions of windows spread over training and held-out episodes.

    Args:
      run: a trained model; a refiner that it has is not used.
      path: the file to write (`data_pipelines.coarse`).
      count: about how many windows; they start where stored latents do (config.encoder.stride).

    Returns:
      How many windows it holds, and how many it lacks since they cannot be read.

    Raises:
      UserError: the data are not those that the run was trained on, no window can be read, or the
        file holds coarse actions of another kind.
    """
    parts = [_dataset(run, split) for split in pipeline.SPLITS if split == "train" or _holds(run)]
    if not members.is_own(run, parts[0].source):
        raise UserError(
            f"{parts[0].source.name}: not the data that {run.workdir} was trained on, whose "
            "statistics normalise what it samples; set config.data.root to those"
        )
    told = identity(run, parts[0], count)
    coarse.check_free(path, told)
    chosen = _choose(run, parts, count)
    wanted = sum(map(len, chosen))
    with tqdm.tqdm(total=wanted, desc="coarse actions", unit="window") as bar:
        found = [_sample(run, *part, bar) for part in zip(parts, chosen, strict=True)]
    bad = list(dict.fromkeys(reason for part in parts for reason in part.bad.reasons))
    actions = [rows for part, _ in found for rows in part]
    if not actions:
        raise UserError(f"{parts[0].source.name}: no window can be read, first because of {bad[0]}")
    windows = [part.windows.at(read) for part, (_, read) in zip(parts, found, strict=True)]
    every = Windows(
        np.concatenate([part.episodes for part in windows]),
        np.concatenate([part.starts for part in windows]),
    )
    coarse.write(path, every, np.concatenate(actions), told, bad)
    return len(every), wanted - len(every)


def identity(run: Run, dataset: WindowDataset, count: int) -> dict[str, dict[str, Any]]:
    """What coarse actions of a run are sampled from, see `data_pipelines.coarse`."""
    evaluate = run.config.evaluate
    return {
        "fits": {
            **coarse.settings(run.config, dataset.source.fingerprint),
            **coarse.normalised_by(list(run.statistics.values())),
        },
        "sampled_by": {
            "checkpoint": str(run.workdir.absolute()),
            "step": run.step,
            "mode": MODE,
            "count": count,
            **{f"config.evaluate.{name}": evaluate[name] for name in SAMPLING},
        },
    }


def refinement(run: Run, dataset: WindowDataset) -> tuple[float, float]:
    """Mean absolute action error without and with the refiner, in the units of the data set.

    Args:
      run: a model with a refiner.
      dataset: its held-out windows, of which config.evaluate.clips are sampled jointly.
    """
    config = run.config.evaluate
    chosen = opening.spread(np.arange(len(dataset)), config.clips)
    found: dict[bool, list[np.ndarray]] = {False: [], True: []}
    truth, masks = [], []
    bar = tqdm.tqdm(batches(len(chosen), BATCH), desc="refining", unit="batch")
    for number, rows in enumerate(bar):
        batch = dataset.load(chosen[rows])
        key = jax.random.fold_in(jax.random.key(config.seed), number)
        for refine, parts in found.items():
            steps = config.sample_steps
            samples = sampling.sample_windows(run, batch, "joint", steps, key, refine)
            parts.append(samples.actions)
        truth.append(sampling.in_robot_units(run, batch.actions, batch.dataset_id))
        masks.append(batch.action_mask)
    true, mask = (np.concatenate(part)[: len(chosen)] for part in (truth, masks))
    errors = [
        mean_absolute_error(np.concatenate(parts)[: len(chosen)], true, mask)
        for parts in found.values()
    ]
    return errors[0], errors[1]


def _holds(run: Run) -> bool:
    return bool(run.config.data.held_out)


def _dataset(run: Run, split: str) -> WindowDataset:
    return pipeline.make_dataset(
        run.config.data,
        seed=0,
        batch_size=1,
        split=split,
        statistics=list(run.statistics.values()),
        read_text=run.read_text,
    )


def _choose(run: Run, parts: Sequence[WindowDataset], count: int) -> list[np.ndarray]:
    """Windows of each part, of which each gives its share."""
    total = sum(len(part) for part in parts)
    found = []
    for part in parts:
        every = np.flatnonzero(part.windows.all().starts % run.config.encoder.stride == 0)
        found.append(opening.spread(every, max(round(count * len(part) / total), 1)))
    return found


def _sample(
    run: Run, dataset: WindowDataset, chosen: np.ndarray, bar
) -> tuple[list[np.ndarray], np.ndarray]:
    """Actions, batch by batch, of those of the windows that can be read, and which these are."""
    config, parts, read = run.config.evaluate, [], [chosen[:0]]
    request = sampling.request(run.config, MODE, config.sample_steps, refine=False)
    for number, begin in enumerate(range(0, len(chosen), BATCH)):
        some = chosen[begin : begin + BATCH]
        batch, kept = dataset.load_readable(some)
        bar.update(len(some))
        if batch is None:
            continue
        rows = np.resize(np.arange(len(kept)), BATCH)  # one compiled function
        arrays = {name: array[rows] for name, array in batch.as_dict().items()}
        key = jax.random.fold_in(jax.random.key(config.seed), int(chosen[0]) + number)
        chunk = sampling.sample(run, observe(encode(run.codec, arrays)), request, key)
        parts.append(np.asarray(chunk.actions)[: len(kept)])
        read.append(kept)
    return parts, np.concatenate(read)
