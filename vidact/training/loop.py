"""The training loop: data to devices, step, log, checkpoint; resumes where it was killed."""

import contextlib
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import ml_collections
from clu import parameter_overview
from tqdm import tqdm

from vidact.batch import Batch
from vidact.training import (
    agreement,
    checkpoints,
    checks,
    distributed,
    feed,
    logs,
    meters,
    pictures,
    preemption,
    prepare,
    profiling,
    provenance,
    runs,
    settings,
    skipped,
    startup,
    step,
    summary,
    trace,
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
      SystemExit: code 75, after SIGTERM: everything is saved, the same command goes on.
    """
    clock, workdir = startup.Clock(), pathlib.Path(workdir).absolute()
    checks.check_sizes(config)
    logs.check(config.train.wandb)
    check_workdir(config, workdir)
    trainer = prepare.trainer(config, workdir, start)
    with checkpoints.open_manager(workdir, config.train) as manager:
        newest = manager.latest_step()
        if newest is not None:
            folder = workdir / checkpoints.FOLDER / str(newest)
            trainer.state = checkpoints.restore_state(folder, trainer.state)
            if distributed.is_first():
                print(f"continuing from step {newest}", flush=True)
        if distributed.is_first():
            runs.write_config(workdir, config)
        clock.mark("state")
        _Loop(trainer, manager, clock).run()


def check_workdir(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Refuses to continue a run that was trained with other settings.

    Raises:
      UserError: names the first key that differs.
    """
    if not runs.has_checkpoint(workdir):
        return
    old = runs.read_config(workdir)
    settings.check_config(workdir, old, config)
    stretched = old.train.steps != config.train.steps and config.optimizer.schedule == "cosine"
    if stretched and distributed.is_first():
        print(
            f"config.train.steps was {old.train.steps}, now {config.train.steps}: the learning "
            "rate's cosine is stretched to it",
            flush=True,
        )


class _Loop:
    """Steps, and what is due between them: telling, looking, saving, leaving.

    Every process goes through all of it; the first writes.
    """

    def __init__(self, trainer: prepare.Trainer, manager, clock: startup.Clock):
        self.trainer, self.manager, self.config = trainer, manager, trainer.config.train
        self.clock = clock
        self.workdir, self.start = trainer.workdir, int(trainer.state.step)
        self.meter = meters.Meter(trainer.config, list(trainer.mesh.devices.flat))
        self.sampler = pictures.Sampler(trainer) if self.config.picture_every else None
        first = distributed.is_first()
        self.logger = logs.Logger(self.workdir, trainer.config) if first else logs.Silent()
        self.profiler = profiling.Profiler(self.workdir, self.config.profile)
        # What the steps since the last line returned: still on the devices, and fetched.
        self.pending: list[step.Metrics] = []
        self.rows: list[step.Metrics] = []

    def run(self) -> None:
        """Steps until config.train.steps, or until told to go."""
        config, trainer = self.config, self.trainer
        trainer.train.bad.write_to(self.workdir / distributed.own(BAD_RECORDS))
        batches = feed.prefetch(_batches(trainer, self.start), trainer.mesh)
        bar = tqdm(
            total=config.steps,
            initial=self.start,
            desc="training",
            unit="step",
            mininterval=1.0,
            disable=not distributed.is_first(),
        )
        with contextlib.ExitStack() as stack:
            for opened in (self.logger, bar, self.profiler):
                stack.enter_context(contextlib.closing(opened))
            for number in range(self.start + 1, config.steps + 1):
                began = number == self.start + 1
                with self.meter.waiting():
                    batch, on_device = next(batches)
                if began:
                    self.clock.mark("batch")
                with self.profiler.step(number, trainer.state):
                    given = (trainer.state, on_device, trainer.codec)
                    trainer.state, metrics = advance(trainer.update, self.meter, *given)
                self.pending.append(metrics)
                self.profiler.after(number, metrics)
                bar.update()
                if began:
                    self._begun(metrics, batch)
                    stack.enter_context(startup.settled())
                if config.trace:
                    trace.write(self.workdir, number, metrics["loss"], batch)
                self._between(number, metrics, on_device)
            self.manager.wait_until_finished()

    def _begun(self, metrics: step.Metrics, batch: Batch) -> None:
        """Says how long it took to get here; of a new run, shows what it trains."""
        jax.block_until_ready(metrics)
        self.clock.mark("step")
        if not distributed.is_first():
            return
        tqdm.write(self.clock.line())
        if self.start:
            return
        trainer = self.trainer
        with self.meter.aside():
            overview = parameter_overview.get_parameter_overview(
                {**trainer.state.params, **trainer.state.frozen}, include_stats="sharding"
            )
            (self.workdir / PARAMETERS).write_text(overview + "\n")
            windows = trainer.train.indices_at(0)
            path = pictures.first_batch(self.workdir, trainer.train, batch, windows)
            self.logger.picture(1, "first batch", path)

    def _between(self, number: int, metrics: step.Metrics, batch: Mapping[str, jax.Array]) -> None:
        """What is due after a step.

        Raises:
          UserError: processes differ, or too many steps in a row were skipped.
          SystemExit: this process was told to go, and has saved.
        """
        config, last = self.config, number == self.config.steps
        if config.agree_every and number % config.agree_every == 0:
            with self.meter.aside(metrics):
                agreement.check(self.trainer.config, self.trainer.train, number)
                agreement.check_state(self.trainer.state, number)
        going = preemption.reached(number) and not last
        saving = self.manager.should_save(number)
        saving |= going or (last and self.manager.latest_step() != number)
        logging = number % config.log_every == 0 or last
        if saving or logging:
            self._fetch(number)
            # A step that others will follow is saved when they went well again.
            saving &= going or last or not self.rows[-1]["skipped"]
        if logging:
            self._log(number, batch)
        ranked = bool(saving and config.keep_best)  # the best are told apart by the held-out loss
        # Who must go has seconds left.
        held_out = None if going else self._look(number, metrics, last or ranked)
        if saving:
            meta = {"step": number, **provenance.code(), "config": _plain(self.trainer)}
            with self.meter.aside(metrics):
                loss = held_out if ranked else None
                checkpoints.save(self.manager, self.trainer.state, meta, loss)
        if going:
            self.manager.wait_until_finished()
            preemption.leave(number)

    def _look(self, number: int, metrics: step.Metrics, now: bool) -> float | None:
        """Draws and measures held-out windows where that is due, or `now`; returns their loss."""
        config, loss = self.config, None
        if self.trainer.held_out and (now or number % config.evaluate_every == 0):
            with self.meter.aside(metrics):
                found = summary.held_out(self.trainer)
            self.logger.write(number, found)
            loss = found[checkpoints.HELD_OUT]
        if self.sampler and (number % config.picture_every == 0 or number == config.steps):
            with self.meter.aside(metrics):
                self.logger.picture(number, "samples", self.sampler.draw(number))
        return loss

    def _fetch(self, number: int) -> None:
        """Waits for the steps up to `number`; what was skipped among them is written down.

        Raises:
          UserError: too many in a row were.
        """
        rows, self.pending = jax.device_get(self.pending), []
        whole, train = self.trainer.config, self.trainer.train
        with self.meter.aside():
            batch_of = (lambda _: 0) if whole.overfit_one_batch else (lambda n: n - 1)
            if distributed.is_first():
                skipped.notice(rows, number, train, batch_of, self.workdir, self.config.spike)
            skipped.check(rows, number, self.config.stop_after_skipped, self.workdir)
        self.rows += rows

    def _log(self, number: int, batch: Mapping[str, jax.Array]) -> None:
        """Writes the line of the steps since the last one; `batch` is the last of them."""
        values = summary.of_steps(self.rows, self.trainer.data_sets)
        values |= self.meter.line(batch, self.trainer.codec, int(values["skipped"]))
        values |= distributed.slowest(values["data wait"])
        values |= summary.of_data(self.trainer.train)
        self.logger.write(number, values)
        self.rows = []


def advance(
    update: Callable, meter: meters.Meter, state: Any, batch: Mapping[str, Any], codec: Any
) -> tuple[Any, step.Metrics]:
    """Dispatches a step and does not wait for it; what it returns stays on the device.

    Raises:
      RuntimeError: something was not on the devices yet, and would be sent there at every step.
    """
    with meter.step(batch), jax.transfer_guard("disallow"):
        return update(state, batch, codec)


def _batches(trainer: prepare.Trainer, start: int):
    if not trainer.config.overfit_one_batch:
        yield from trainer.train.from_step(start)
    first = trainer.train.batch_at(0)
    while True:
        yield first


def _plain(trainer: prepare.Trainer) -> dict[str, Any]:
    return json.loads(json.dumps(trainer.config.to_dict()))
