"""The training loop: data to devices, step, log, checkpoint; resumes where it was killed."""

import contextlib
import hashlib
import json
import math
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from tqdm import tqdm

from vidact.batch import Batch
from vidact.errors import UserError
from vidact.training import (
    agreement,
    checkpoints,
    checks,
    feed,
    logs,
    prepare,
    provenance,
    runs,
    step,
)

BAD_RECORDS = "bad_records.txt"
EVALUATION_TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)


def run(
    config: ml_collections.ConfigDict,
    workdir: str | pathlib.Path,
    start: prepare.Start | None = None,
) -> None:
    """Trains to config.train.steps, continuing from the newest checkpoint in `workdir`.

    Args:
      config: the experiment.
      workdir: made if it is not there.
      start: what a new run starts from, for example pretrained weights.

    Raises:
      UserError: the data cannot be read, the work directory belongs to another configuration, or
        the loss is not finite.
    """
    workdir = pathlib.Path(workdir).absolute()
    checks.check_sizes(config)
    check_workdir(config, workdir)
    trainer = prepare.trainer(config, workdir, start)
    with checkpoints.open_manager(workdir, config.train) as manager:
        newest = manager.latest_step()
        if newest is not None:
            folder = workdir / checkpoints.FOLDER / str(newest)
            trainer.state = checkpoints.restore_state(folder, trainer.state)
            print(f"continuing from step {newest}", flush=True)
        runs.write_config(workdir, config)
        _loop(trainer, manager)


def check_workdir(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Refuses to continue a run that was trained with other settings.

    Raises:
      UserError: names the first key that differs.
    """
    if not runs.has_checkpoint(workdir):
        return
    old = runs.read_config(workdir)
    runs.check_config(workdir, old, config)
    if old.train.steps != config.train.steps and config.optimizer.schedule == "cosine":
        print(
            f"config.train.steps was {old.train.steps}, now {config.train.steps}: the learning "
            "rate's cosine is stretched to it",
            flush=True,
        )


def _loop(trainer: prepare.Trainer, manager) -> None:
    config, logger = trainer.config.train, logs.Logger(trainer.workdir)
    start = int(trainer.state.step)
    trainer.train.bad.write_to(trainer.workdir / BAD_RECORDS)
    batches = feed.prefetch(_batches(trainer, start), trainer.mesh)
    bar = tqdm(total=config.steps, initial=start, desc="training", unit="step", mininterval=1.0)
    waiting, pending, clock = 0.0, [], time.perf_counter()
    with contextlib.closing(logger), contextlib.closing(bar):
        for number in range(start + 1, config.steps + 1):
            before = time.perf_counter()
            batch, on_device = next(batches)
            waiting += time.perf_counter() - before
            trainer.state, metrics = trainer.update(trainer.state, on_device, trainer.codec)
            pending.append(metrics)
            bar.update()
            if config.agree_every and number % config.agree_every == 0:
                agreement.check(trainer.config, trainer.train, number)
            if config.trace:
                _trace(trainer.workdir, number, metrics, batch)
            last = number == config.steps
            saving = manager.should_save(number) or (last and manager.latest_step() != number)
            logging = number % config.log_every == 0 or last
            if saving or logging:  # what is not finite is never saved
                _check_finite(pending, number, trainer.workdir)
            if logging:
                values = _summary(pending, trainer.data_sets)
                seconds = time.perf_counter() - clock
                values |= {"seconds": seconds / len(pending), "data wait": waiting / seconds}
                if trainer.train.bad.policy == "skip":
                    values["windows substituted"] = trainer.train.bad.substituted
                waiting, pending, clock = 0.0, [], time.perf_counter()
                logger.write(number, values)
            ranked = saving and config.keep_best  # the best are told apart by the held-out loss
            found: dict[str, float] = {}
            if trainer.held_out and (number % config.evaluate_every == 0 or last or ranked):
                found = evaluation_loss(trainer)
                logger.write(number, found)
                clock = time.perf_counter()
            if saving:
                meta = {"step": number, **provenance.code(), "config": _plain(trainer)}
                held_out = found[checkpoints.HELD_OUT] if ranked else None
                checkpoints.save(manager, trainer.state, meta, held_out)
        manager.wait_until_finished()


def _batches(trainer: prepare.Trainer, start: int):
    if not trainer.config.overfit_one_batch:
        yield from trainer.train.from_step(start)
    first = trainer.train.batch_at(0)
    while True:
        yield first


def evaluation_loss(trainer: prepare.Trainer) -> dict[str, float]:
    """Mean held-out loss, whole and per modality, over fixed times with fixed noise and windows."""
    assert trainer.held_out is not None
    batch = feed.to_devices(trainer.held_out.batch_at(0), trainer.mesh)
    rows = []
    for t in EVALUATION_TIMES:
        times = jnp.full((trainer.config.train.batch_size, 2), t)
        rows.append(trainer.evaluate(trainer.state, batch, trainer.codec, times, 0))
    found, weights = _mean(rows), trainer.config.train.loss_weights
    found["loss"] = sum(weights[name.removeprefix("loss/")] * v for name, v in found.items())
    return {f"held out {name}": value for name, value in found.items()}


def _summary(rows: list[step.Metrics], data_sets: Sequence[str]) -> dict[str, float]:
    """Means over steps, and the losses by those ranges of t and data sets that occurred."""
    rows, count = jax.device_get(rows), step.TIME_BUCKETS
    ranges = [f"t {i / count:.2f}-{(i + 1) / count:.2f}" for i in range(count)]
    groups = {"by_time": (logs.BY_TIME, ranges), "by_data_set": (logs.BY_DATA_SET, data_sets)}
    values = _mean([{k: v for k, v in row.items() if k not in groups} for row in rows])
    for key, (prefix, members) in groups.items():
        for name in rows[0].get(key, {}):
            totals = np.sum([row[key][name] for row in rows], axis=0)
            for member, (error, weight) in zip(members, totals, strict=True):
                if weight > 0:
                    values[f"{prefix}{name}/{member}"] = float(error / weight)
    return values


def _mean(rows: Sequence[step.Metrics]) -> dict[str, float]:
    rows = jax.device_get(rows)
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _check_finite(rows: list[step.Metrics], number: int, workdir: pathlib.Path) -> None:
    """Waits for the steps of `rows`, the last of which is `number`.

    Raises:
      UserError: names the first step whose loss or gradient is not finite.
    """
    for back, row in enumerate(reversed(jax.device_get(rows))):
        bad = [n for n in ("loss", "gradient_norm") if not math.isfinite(row[n])]
        if bad:
            raise UserError(
                f"step {number - back}: {bad[0]} is not finite; lower "
                f"config.optimizer.learning_rate and continue from the last checkpoint in {workdir}"
            )


def _trace(workdir: pathlib.Path, number: int, metrics, batch: Batch) -> None:
    """Appends a step's loss, exactly, and a hash of its batch."""
    digest = hashlib.sha256()
    for name, value in sorted(batch.as_dict().items()):
        digest.update(name.encode() + np.ascontiguousarray(value).tobytes())
    line = {"step": number, "loss": float(metrics["loss"]).hex(), "batch": digest.hexdigest()}
    with (workdir / "trace.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def _plain(trainer: prepare.Trainer) -> dict[str, Any]:
    return json.loads(json.dumps(trainer.config.to_dict()))
