"""What held-out windows say about a run without a simulator: PSNR gains and action errors."""

import dataclasses
from collections.abc import Iterator

import jax
import numpy as np
import tqdm
from jaxtyping import Bool, Float, Int

from data_pipelines.pipeline import WindowDataset
from vidact.batch import Batch
from vidact.evaluation import members, opening, sampling
from vidact.evaluation.metrics import psnr
from vidact.evaluation.metrics.actions import action_errors
from vidact.evaluation.policy import batches
from vidact.evaluation.sampling import Samples
from vidact.training.runs import Run

BATCH = 16
"""Windows of one call of the model."""


@dataclasses.dataclass(frozen=True)
class Offline:
    """Means over held-out windows, sampled in joint mode.

    Attributes:
      windows: how many.
      psnr_gain_db: over the codec's own reconstruction of the first frame, held still; NaN for a
        model that imagines no video.
      moving_psnr_gain_db: over the true first frame, held still, where truth moves; NaN where
        nothing does.
      codec_psnr_db: of the codec's reconstruction of the true windows.
      action_errors: task -> `metrics.actions.action_errors`, in the units of the data set.
    """

    windows: int
    psnr_gain_db: float
    moving_psnr_gain_db: float
    codec_psnr_db: float
    action_errors: dict[str, dict[str, float]]


@dataclasses.dataclass(frozen=True)
class _Compared:
    """One batch of windows, the true and the generated."""

    gain: Float[np.ndarray, " B"]
    moving_gain: Float[np.ndarray, " B"]
    codec: Float[np.ndarray, " B"]
    actions: Float[np.ndarray, "B Ta A"]
    truth: Float[np.ndarray, "B Ta A"]
    mask: Bool[np.ndarray, "B Ta A"]


def measure(run: Run, dataset: WindowDataset) -> Offline:
    """Samples config.evaluate.clips held-out windows, spread evenly over tasks and episodes.

    Args:
      run: a trained model.
      dataset: its held-out windows.
    """
    chosen = _choose(dataset, run.config.evaluate.clips)
    indices = np.concatenate(list(chosen.values()))
    parts = list(_compare(run, dataset, indices))
    fields = [field.name for field in dataclasses.fields(_Compared)]
    found = _Compared(
        **{
            name: np.concatenate([getattr(p, name) for p in parts])[: len(indices)]
            for name in fields
        }
    )
    return Offline(
        windows=len(indices),
        psnr_gain_db=psnr.mean_db(found.gain),
        moving_psnr_gain_db=psnr.mean_db(found.moving_gain),
        codec_psnr_db=psnr.mean_db(found.codec),
        action_errors=_errors_by_task(chosen, found, _mean_action(run, dataset)),
    )


def _choose(dataset: WindowDataset, clips: int) -> dict[str, Int[np.ndarray, " n"]]:
    """Task -> its share of the windows."""
    groups = opening.windows_by_task(dataset)
    share = -(-clips // len(groups))
    return {task: opening.spread(windows, share) for task, windows in groups.items()}


def _mean_action(run: Run, dataset: WindowDataset) -> Float[np.ndarray, " A"]:
    """Of the training episodes; zero in the columns that other data sets of the run have beside."""
    mean = members.measured(run, dataset)["action"].mean
    return np.pad(mean, (0, dataset.widths["action"] - len(mean)))


def _errors_by_task(
    chosen: dict[str, Int[np.ndarray, " n"]], found: _Compared, mean: Float[np.ndarray, " A"]
) -> dict[str, dict[str, float]]:
    errors, begin = {}, 0
    for task, windows in chosen.items():
        mine = slice(begin, begin + len(windows))
        begin += len(windows)
        errors[task] = action_errors(found.actions[mine], found.truth[mine], found.mask[mine], mean)
    return errors


def _compare(
    run: Run, dataset: WindowDataset, indices: Int[np.ndarray, " n"]
) -> Iterator[_Compared]:
    config = run.config.evaluate
    key = jax.random.key(config.seed)
    plan = batches(len(indices), BATCH)
    bar = tqdm.tqdm(plan, desc="held-out windows", unit="batch")
    for number, rows in enumerate(bar):
        batch = dataset.load(indices[rows])
        mine = jax.random.fold_in(key, number)
        samples = sampling.sample_windows(run, batch, "joint", config.sample_steps, mine)
        yield _one(run, batch, samples)


def _one(run: Run, batch: Batch, samples: Samples) -> _Compared:
    truth = batch.pixels
    whole = psnr.valid(truth, batch.frame_mask)
    moving = psnr.moving(truth, batch.frame_mask)
    nothing = np.full(len(truth), np.nan)
    imagines = run.config.model.imagine
    still = sampling.first_frame(run, truth)
    return _Compared(
        gain=psnr.psnr_gain(samples.video, truth, still, whole) if imagines else nothing,
        moving_gain=psnr.psnr_gain(samples.video, truth, truth[:, 0], moving)
        if imagines
        else nothing,
        codec=psnr.psnr(sampling.reconstruct(run, truth), truth, whole),
        actions=samples.actions,
        truth=sampling.in_robot_units(run, batch.actions, batch.dataset_id),
        mask=batch.action_mask,
    )
