"""The training loop: data to devices, step, log, checkpoint; resumes where it was killed."""

import contextlib
import dataclasses
import hashlib
import json
import math
import pathlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from tqdm import tqdm

import vidact
from data_pipelines import encoded, pipeline
from data_pipelines.sidecars import Sidecar
from data_pipelines.sources.cache import CachedSource
from vidact import actions
from vidact.actions import Statistics
from vidact.batch import Batch
from vidact.encoders.text import reader
from vidact.encoders.video import linear
from vidact.encoders.video.codec import VideoCodec, open_codec
from vidact.errors import UserError
from vidact.models import registry
from vidact.nn import flat
from vidact.training import checkpoints, checks, feed, logs, runs, sharding, state, step
from vidact.training.optimizer import check_scales, make_optimizer

EVALUATION_TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclasses.dataclass(frozen=True)
class Start:
    """What a new run starts from instead of random parameters.

    Attributes:
      parameters: from random parameters to those that replace them; need not return all.
      codec: the fitted codec that they were trained with, or None.
      statistics: by the data set's fingerprint, those that they were trained with.
    """

    parameters: Callable[[state.Parameters], state.Parameters]
    codec: linear.LinearCodec | None = None
    statistics: Mapping[str, Mapping[str, Statistics]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Trainer:
    """What a run consists of, ready to step.

    Attributes:
      codec: None where latents are stored.
      data_sets: names for the log, by the batches' dataset_id.
    """

    config: ml_collections.ConfigDict
    workdir: pathlib.Path
    train: pipeline.WindowDataset
    held_out: pipeline.WindowDataset | None
    codec: VideoCodec | None
    mesh: jax.sharding.Mesh
    blueprint: flat.Blueprint
    state: state.TrainState
    update: Any
    evaluate: Any
    data_sets: tuple[str, ...]


def run(
    config: ml_collections.ConfigDict,
    workdir: str | pathlib.Path,
    start: Start | None = None,
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
    trainer = prepare(config, workdir, start)
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


def prepare(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    start: Start | None = None,
) -> Trainer:
    """Opens the data, builds a sharded state, and fits the codec, or reads it where a run goes on.

    Raises:
      UserError: the data cannot be read or sizes do not fit; nothing has been written then.
    """
    mesh = sharding.make_mesh(config.mesh)
    sharding.check_batch(config.train.batch_size, mesh)
    make = registry.maker(config)
    plan = flat.blueprint(make)
    state.check_freeze(plan.shapes, config.train.freeze, plan.buffers)
    check_scales(plan.shapes, config.optimizer.scales)
    optimizer = make_optimizer(config.optimizer, config.train.steps)
    source = pipeline.open_source(config.data)
    resuming = runs.has_checkpoint(workdir)
    if resuming:
        runs.check_data_set(workdir, source.name, source.fingerprint)
        runs.check_encoders(workdir, config)
    start = Start(parameters=lambda _: {}) if start is None else start
    known = start.statistics.get(source.fingerprint)
    if resuming:
        known = actions.load_statistics(workdir / runs.STATISTICS)
    train, held_out = open_data(config, source, known)
    checks.check_data(config, source.name, train.statistics)
    create, layout = state_maker(make, plan, config, optimizer, mesh)
    fresh = create()
    stored = encoded.read(config.data.encoded) if config.data.encoded else None
    if not resuming:
        found = start.parameters({**fresh.params, **fresh.frozen})
        fresh = state.with_parameters(fresh, found)
        fitted = first_codec(config, train, start.codec, stored)
        identities = runs.encoders_of(config)
        if stored:
            identities = runs.same_encoders(stored.folder, stored.identities, identities)
        runs.write_assets(workdir, fitted, train.statistics, source.fingerprint, identities)
    codec = None if stored else open_codec(config, workdir / runs.CODEC)
    data_sets = (short_name(source.name),)
    update = step.make_step(
        plan,
        optimizer,
        seed=config.seed,
        weights=config.train.loss_weights.to_dict(),
        ema_decay=config.train.ema,
        data_sets=len(data_sets),
    )
    return Trainer(
        config=config,
        workdir=workdir,
        train=train,
        held_out=held_out,
        codec=jax.device_put(codec, jax.NamedSharding(mesh, jax.P())),
        mesh=mesh,
        blueprint=plan,
        state=fresh,
        update=jax.jit(update, donate_argnums=0, out_shardings=(layout, None)),
        evaluate=jax.jit(step.make_evaluation(plan)),
        data_sets=data_sets,
    )


def short_name(source: str) -> str:
    """`DIR/bridge/1.0.0 split train` -> `bridge`: the last folder that is no version."""
    parts = pathlib.PurePath(source.split(" split ")[0]).parts
    return next((p for p in reversed(parts) if not re.fullmatch(r"[\d.]+", p)), source)


def open_data(
    config: ml_collections.ConfigDict,
    source: CachedSource,
    statistics: Mapping[str, Statistics] | None = None,
) -> tuple[pipeline.WindowDataset, pipeline.WindowDataset | None]:
    """Training windows and, where episodes are held out, theirs; `statistics` if known already.

    Raises:
      UserError: stored latents or coarse actions are missing or were made from something else.
    """
    sidecars, known = [], None
    if config.data.encoded:
        stored = encoded.read(config.data.encoded)
        encoded.check(stored, config, source.fingerprint)
        sidecars, known = [encoded.latents(stored)], encoded.texts(stored)
    if config.data.coarse:
        sidecars.append(Sidecar([pathlib.Path(config.data.coarse)]))
    args = dict(
        seed=config.seed,
        read_text=reader.open_reader(config, known),
        sidecars=sidecars,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        source=source,
    )
    size = config.train.batch_size
    train = pipeline.make_dataset(config.data, batch_size=size, statistics=statistics, **args)
    if not config.data.held_out:
        return train, None
    held_out = pipeline.make_dataset(
        config.data, batch_size=size, split="held_out", statistics=train.statistics, **args
    )
    return train, held_out


def first_codec(
    config: ml_collections.ConfigDict,
    train: pipeline.WindowDataset,
    given: linear.LinearCodec | None,
    stored: encoded.Encoded | None,
) -> linear.LinearCodec | None:
    """The fitted codec of a new run: that of its stored latents, a given one, or a fresh one."""
    if config.encoder.kind != "linear":
        return None
    if stored is not None:
        return linear.load(stored.codec)
    return given or fit_codec(config.encoder, train)


def fit_codec(
    config: ml_collections.ConfigDict, train: pipeline.WindowDataset
) -> linear.LinearCodec:
    """Fits the linear codec to evenly spaced training windows and prints what it costs."""
    count = min(config.clips, len(train))
    clips = train.load(np.linspace(0, len(train) - 1, count).astype(np.int64)).pixels
    codec = linear.fit(clips, patch=config.patch, frames=config.frames, channels=config.channels)
    restored = np.asarray(linear.to_uint8(codec.decode(codec.encode(clips[:64]))))
    error = np.square(restored.astype(np.float32) - clips[:64]).mean()
    if config.blind:  # the control that trains without images
        codec = linear.blinded(codec)
    print(f"codec psnr: {10 * math.log10(255**2 / error):.1f} dB (training frames)", flush=True)
    return codec


def state_maker(make, plan: flat.Blueprint, config, optimizer, mesh):
    """A jitted function that makes a fresh state, sharded by the rule table, and the shardings."""
    shardings = sharding.parameter_shardings(plan.shapes, mesh)

    def create():
        return state.create(make, config.train.freeze, optimizer, config.train.frozen_dtype)

    layout = sharding.like_parameters(jax.eval_shape(create), shardings, mesh)
    return jax.jit(create, out_shardings=layout), layout


def _loop(trainer: Trainer, manager) -> None:
    config, logger = trainer.config.train, logs.Logger(trainer.workdir)
    start = int(trainer.state.step)
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
                waiting, pending, clock = 0.0, [], time.perf_counter()
                logger.write(number, values)
            if trainer.held_out and (number % config.evaluate_every == 0 or last):
                logger.write(number, evaluation_loss(trainer))
                clock = time.perf_counter()
            if saving:
                meta = {"step": number, "version": vidact.__version__, "config": _plain(trainer)}
                checkpoints.save(manager, trainer.state, meta)
        manager.wait_until_finished()


def _batches(trainer: Trainer, start: int):
    if not trainer.config.overfit_one_batch:
        yield from trainer.train.from_step(start)
    first = trainer.train.batch_at(0)
    while True:
        yield first


def evaluation_loss(trainer: Trainer) -> dict[str, float]:
    """Mean held-out loss per modality over fixed times, with fixed noise and windows."""
    assert trainer.held_out is not None
    batch = feed.to_devices(trainer.held_out.batch_at(0), trainer.mesh)
    rows = []
    for t in EVALUATION_TIMES:
        times = jnp.full((trainer.config.train.batch_size, 2), t)
        rows.append(trainer.evaluate(trainer.state, batch, trainer.codec, times, 0))
    return {f"held out {name}": value for name, value in _mean(rows).items()}


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


def _plain(trainer: Trainer) -> dict[str, Any]:
    return json.loads(json.dumps(trainer.config.to_dict()))
