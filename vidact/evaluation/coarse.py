"""Coarse actions: what a trained model samples for recorded windows, from which a refiner learns.

A model errs less on windows that it was trained on. Where there are demonstrations enough, train it
on one part and write coarse actions for another.
"""

import pathlib

import jax
import numpy as np
import tqdm

from data_pipelines import pipeline, sidecars
from data_pipelines.loading import WindowDataset
from data_pipelines.windows import Windows
from vidact.encoders.encode import encode
from vidact.evaluation import opening, sampling
from vidact.evaluation.metrics.actions import mean_absolute_error
from vidact.evaluation.policy import batches
from vidact.inputs import observe
from vidact.training.runs import Run

BATCH = 16
FIELD = "coarse"


def beside(root: str) -> pathlib.Path:
    """Where the coarse actions of a data set are written by default."""
    folder = pathlib.Path(root).absolute()
    return folder.with_name(f"{folder.name}-coarse.safetensors")


def write(run: Run, path: pathlib.Path, count: int) -> int:
    """Samples the actions of windows spread over training and held-out episodes; returns how many.

    Args:
      run: a trained model; a refiner that it has is not used.
      path: the sidecar to write (`data_pipelines.sidecars`): normalised actions by window.
      count: about how many windows.
    """
    parts = [_dataset(run, split) for split in pipeline.SPLITS if split == "train" or _holds(run)]
    total, windows, found = sum(len(part) for part in parts), [], []
    with tqdm.tqdm(desc="coarse actions", unit="window") as bar:
        for dataset in parts:
            share = max(round(count * len(dataset) / total), 1)
            chosen = opening.spread(np.arange(len(dataset)), share)
            found.append(_sample(run, dataset, chosen, bar))
            windows.append(dataset.windows.at(chosen))
    episodes = np.concatenate([part.episodes for part in windows])
    starts = np.concatenate([part.starts for part in windows])
    path.parent.mkdir(parents=True, exist_ok=True)
    sidecars.write(path, Windows(episodes, starts), {FIELD: np.concatenate(found)})
    return len(starts)


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


def _sample(run: Run, dataset: WindowDataset, chosen: np.ndarray, bar) -> np.ndarray:
    config, parts = run.config.evaluate, []
    request = sampling.request(run.config, "joint", config.sample_steps, refine=False)
    for number, rows in enumerate(batches(len(chosen), BATCH)):
        known = observe(encode(run.codec, dataset.load(chosen[rows]).as_dict()))
        key = jax.random.fold_in(jax.random.key(config.seed), int(chosen[0]) + number)
        parts.append(np.asarray(sampling.sample(run, known, request, key).actions))
        bar.update(len(rows))
    return np.concatenate(parts)[: len(chosen)]
