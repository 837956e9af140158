"""The training loop: data to devices, step, log, checkpoint; resumes where it was killed."""

import contextlib
import hashlib
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import ml_collections
import numpy as np
from clu import parameter_overview
from tqdm import tqdm

import vidact
from vidact.batch import Batch
from vidact.training import (
    agreement,
    checkpoints,
    checks,
    feed,
    logs,
    meters,
    pictures,
    prepare,
    profiling,
    runs,
    skipped,
    step,
    summary,
)

BAD_RECORDS = "bad_records.txt"
PARAMETERS = "parameters.txt"


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
        too many steps in a row were skipped.
    """
    workdir = pathlib.Path(workdir).absolute()
    checks.check_sizes(config)
    logs.check(config.train.wandb)
    check_workdir(config, workdir)
    trainer = prepare.trainer(config, workdir, start)
    with checkpoints.open_manager(
        workdir, keep=config.train.keep, every=config.train.checkpoint_every
    ) as manager:
        newest = manager.latest_step()
        if newest is not None:
            trainer.state = checkpoints.restore_state(manager, newest, trainer.state)
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
    config, workdir, start = trainer.config.train, trainer.workdir, int(trainer.state.step)
    trainer.train.bad.write_to(workdir / BAD_RECORDS)
    meter = meters.Meter(trainer.config, list(trainer.mesh.devices.flat))
    batches = feed.prefetch(_batches(trainer, start), trainer.mesh)
    sampler = pictures.Sampler(trainer) if config.picture_every else None
    bar = tqdm(total=config.steps, initial=start, desc="training", unit="step", mininterval=1.0)
    logger = logs.Logger(workdir, trainer.config)
    profiler = profiling.Profiler(workdir, config.profile)
    pending, rows = [], []  # what the steps since the last line returned: on the device, fetched
    with contextlib.closing(logger), contextlib.closing(bar), contextlib.closing(profiler):
        for number in range(start + 1, config.steps + 1):
            with meter.waiting():
                batch, on_device = next(batches)
            with profiler.step(number, trainer.state):
                given = (trainer.state, on_device, trainer.codec)
                trainer.state, metrics = advance(trainer.update, meter, *given)
            pending.append(metrics)
            profiler.after(number, metrics)
            bar.update()
            if number == start + 1:
                _begun(trainer, meter, logger, metrics, batch if start == 0 else None)
            if config.agree_every and number % config.agree_every == 0:
                with meter.aside(metrics):
                    agreement.check(trainer.config, trainer.train, number)
            if config.trace:
                _trace(workdir, number, metrics, batch)
            last = number == config.steps
            saving = manager.should_save(number) or (last and manager.latest_step() != number)
            logging = number % config.log_every == 0 or last
            if saving or logging:
                rows += _fetch(trainer, meter, pending, number)
                pending, sound = [], not rows[-1]["skipped"]
                saving &= sound or last
            if logging:
                values = summary.of_steps(rows, trainer.data_sets)
                values |= meter.line(on_device, trainer.codec, int(values["skipped"]))
                if trainer.train.bad.policy == "skip":
                    values["windows substituted"] = trainer.train.bad.substituted
                logger.write(number, values)
                rows = []
            if trainer.held_out and (number % config.evaluate_every == 0 or last):
                with meter.aside(metrics):
                    logger.write(number, summary.held_out(trainer))
            if sampler and (number % config.picture_every == 0 or last):
                with meter.aside(metrics):
                    logger.picture(number, "samples", sampler.draw(number))
            if saving:
                meta = {"step": number, "version": vidact.__version__, "config": _plain(trainer)}
                with meter.aside(metrics):
                    checkpoints.save(manager, trainer.state, meta)
        manager.wait_until_finished()


def advance(
    update: Callable, meter: meters.Meter, state: Any, batch: Mapping[str, Any], codec: Any
) -> tuple[Any, step.Metrics]:
    """Dispatches a step and does not wait for it; what it returns stays on the device.

    Raises:
      RuntimeError: something was not on the devices yet, and would be sent there at every step.
    """
    with meter.step(batch), jax.transfer_guard("disallow"):
        return update(state, batch, codec)


def _begun(
    trainer: prepare.Trainer,
    meter: meters.Meter,
    logger: logs.Logger,
    metrics: step.Metrics,
    batch: Batch | None,
) -> None:
    """Says how long it took to get here; of a new run, shows its first batch."""
    jax.block_until_ready(metrics)
    if jax.process_index() > 0:
        return
    tqdm.write(f"first step after s: {meter.age:.1f} of which compiling: {meter.compiling:.1f}")
    if batch is None:
        return
    with meter.aside():
        overview = parameter_overview.get_parameter_overview(
            {**trainer.state.params, **trainer.state.frozen}, include_stats="sharding"
        )
        (trainer.workdir / PARAMETERS).write_text(overview + "\n")
        windows = trainer.train.indices_at(0)
        path = pictures.first_batch(trainer.workdir, trainer.train, batch, windows)
        logger.picture(1, "first batch", path)


def _fetch(
    trainer: prepare.Trainer, meter: meters.Meter, pending: list[step.Metrics], number: int
) -> list[step.Metrics]:
    """Waits for the steps up to `number`; what was skipped among them is written down.

    Raises:
      UserError: too many in a row were.
    """
    config, rows = trainer.config.train, jax.device_get(pending)
    with meter.aside():
        batch_of = (lambda _: 0) if trainer.config.overfit_one_batch else (lambda n: n - 1)
        if jax.process_index() == 0:
            skipped.notice(rows, number, trainer.train, batch_of, trainer.workdir, config.spike)
        skipped.check(rows, number, config.stop_after_skipped, trainer.workdir)
    return rows


def _batches(trainer: prepare.Trainer, start: int):
    if not trainer.config.overfit_one_batch:
        yield from trainer.train.from_step(start)
    first = trainer.train.batch_at(0)
    while True:
        yield first


def digest(batch: Mapping[str, np.ndarray]) -> str:
    """A hash of a batch's names and values."""
    found = hashlib.sha256()
    for name, value in sorted(batch.items()):
        found.update(name.encode() + np.ascontiguousarray(value).tobytes())
    return found.hexdigest()


def _trace(workdir: pathlib.Path, number: int, metrics, batch: Batch) -> None:
    """Appends a step's loss, exactly, and a hash of its batch."""
    loss = float(metrics["loss"]).hex()
    line = {"step": number, "loss": loss, "batch": digest(batch.as_dict())}
    with (workdir / "trace.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def _plain(trainer: prepare.Trainer) -> dict[str, Any]:
    return json.loads(json.dumps(trainer.config.to_dict()))
