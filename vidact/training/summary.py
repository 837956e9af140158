"""From what steps return to the values of a log line."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np

from data_pipelines.loading import WindowDataset
from vidact.processes import support
from vidact.training import distributed, feed, logs, prepare, step

TIMES = tuple((2 * i + 1) / 20 for i in range(10))
"""Where the evaluation loss is taken: the middles of ten equal ranges of t."""
UNSHOWN = ("skipped", "in_a_row", "usual")


def of_steps(rows: Sequence[step.Metrics], data_sets: Sequence[str]) -> dict[str, float]:
    """Means over accepted steps, losses by range of t and by data set, and how many were skipped.

    Args:
      rows: what steps returned, on the host.
      data_sets: names by dataset_id.
    """
    accepted = [row for row in rows if not row["skipped"]]
    values = _of_accepted(accepted, data_sets) if accepted else {}
    return values | {"skipped": len(rows) - len(accepted)}


def of_data(dataset: WindowDataset) -> dict[str, int]:
    """How many windows others stood in for so far, in all processes, which all call it.

    Nothing where a window that cannot be read ends the run.
    """
    if dataset.bad.policy != "skip":
        return {}
    return {"windows substituted": distributed.total(dataset.bad.substituted)}


def held_out(trainer: prepare.Trainer) -> dict[str, float]:
    """Mean held-out loss, whole and by modality, over `TIMES` and at each; noise is fixed."""
    assert trainer.held_out is not None
    batch = feed.to_devices(trainer.held_out.batch_at(0), trainer.mesh)
    rows = jax.device_get([_at(trainer, batch, t) for t in TIMES])
    found, weights = _mean(rows), trainer.config.train.loss_weights
    found["loss"] = sum(weights[name.removeprefix("loss/")] * v for name, v in found.items())
    values = {f"held out {name}": value for name, value in found.items()}
    for t, row in zip(TIMES, rows, strict=True):
        for name, value in row.items():
            key = f"{logs.HELD_OUT_BY_TIME}{name.removeprefix('loss/')}/t {t:.2f}"
            values[key] = float(value)
    return values


def _at(trainer: prepare.Trainer, batch: Mapping[str, jax.Array], t: float) -> step.Metrics:
    """Each modality's loss where its own time is `t`, on a pair of times that is trained."""
    probes, found = support.probes(trainer.config.model.times, t), {}
    for pair in dict.fromkeys(probes.values()):
        times = np.tile(np.asarray(pair, np.float32), (batch["actions"].shape[0], 1))
        row = trainer.evaluate(trainer.state, batch, trainer.codec, times, 0)
        for name, loss in row.items():
            if probes.get(name.removeprefix("loss/"), pair) == pair:
                found[name] = loss
    return found


def _of_accepted(rows: Sequence[step.Metrics], data_sets: Sequence[str]) -> dict[str, float]:
    count = step.TIME_BUCKETS
    ranges = [f"t {i / count:.2f}-{(i + 1) / count:.2f}" for i in range(count)]
    groups = {"by_time": (logs.BY_TIME, ranges), "by_data_set": (logs.BY_DATA_SET, data_sets)}
    left_out = {*groups, *UNSHOWN}
    values = _mean([{k: v for k, v in row.items() if k not in left_out} for row in rows])
    for key, (prefix, members) in groups.items():
        for name in rows[0].get(key, {}):
            totals = np.sum([row[key][name] for row in rows], axis=0)
            for member, (error, weight) in zip(members, totals, strict=True):
                if weight > 0:
                    values[f"{prefix}{name}/{member}"] = float(error / weight)
    return values


def _mean(rows: Sequence[step.Metrics]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
