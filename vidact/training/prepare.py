"""What a run consists of before its first step: data, codec, model, optimizer, state."""

import dataclasses
import math
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import ml_collections
import numpy as np

from data_pipelines import coarse, encoded
from data_pipelines.episodes import Episodes
from data_pipelines.loading import WindowDataset
from data_pipelines.opening import open_source
from data_pipelines.pipeline import make_dataset
from vidact.encoders.text import reader
from vidact.encoders.video import linear
from vidact.encoders.video.codec import VideoCodec, open_codec
from vidact.errors import UserError
from vidact.nn import flat
from vidact.training import checks, distributed, program, runs, sharding, state


@dataclasses.dataclass(frozen=True)
class Start:
    """What a new run starts from instead of random parameters.

    Attributes:
      parameters: from random parameters to those that replace them; need not return all.
      folder: where they come from.
      codec: the fitted codec that they were trained with, or None.
      statistics: by the fingerprint of all data those that they were trained with, by data set.
      encoders: identities of the published encoders that they were trained with, where known.
    """

    parameters: Callable[[state.Parameters], state.Parameters]
    folder: pathlib.Path
    codec: linear.LinearCodec | None = None
    statistics: Mapping[str, Mapping[str, runs.SetStatistics]] = dataclasses.field(
        default_factory=dict
    )
    encoders: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Trainer:
    """What a run consists of, ready to step.

    Attributes:
      codec: None where latents are stored.
      data_sets: names for the log, by the batches' dataset_id.
    """

    config: ml_collections.ConfigDict
    workdir: pathlib.Path
    train: WindowDataset
    held_out: WindowDataset | None
    codec: VideoCodec | None
    mesh: jax.sharding.Mesh
    blueprint: flat.Blueprint
    state: state.TrainState
    update: Any
    evaluate: Any
    data_sets: tuple[str, ...]


def trainer(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    start: Start | None = None,
) -> Trainer:
    """Opens the data, builds a sharded state, and fits the codec, or reads it where a run goes on.

    Raises:
      UserError: the data cannot be read or sizes do not fit; nothing has been written then.
    """
    mesh = sharding.make_mesh(config.mesh)
    sharding.check_batch(config.train.batch_size, mesh, config.train.microbatches)
    source = open_source(config.data)
    data_sets = source.names
    programs = program.build(config, mesh, len(data_sets))
    resuming = runs.has_checkpoint(workdir)
    known: Mapping[str, runs.SetStatistics] | None
    if resuming:
        runs.check_data_set(workdir, source.name, source.fingerprint)
        runs.check_encoders(workdir, config)
        known = runs.read_statistics(workdir)
    else:
        known = start.statistics.get(source.fingerprint) if start else None
    train, held_out = open_data(config, source, known)
    checks.check_data(config, source.name, train.widths)
    fresh = programs.create()
    stored = encoded.read(config.data.encoded) if config.data.encoded else None
    if not resuming:
        if start:
            whose = f"{start.folder}'s, the same data" if known else f"measured on {source.name}"
            if distributed.is_first():
                print(f"statistics: {whose}", flush=True)
            fresh = state.with_parameters(fresh, start.parameters({**fresh.params, **fresh.frozen}))
        if distributed.is_first():
            _write_assets(config, workdir, train, start, stored)
        distributed.wait("assets are written")
        measured = list(runs.read_statistics(workdir).values())  # the first process's, to the bit
        train = dataclasses.replace(train, statistics=measured)
        if held_out is not None:
            held_out = dataclasses.replace(held_out, statistics=measured)
    codec = None if stored else open_codec(config, workdir / runs.CODEC)
    return Trainer(
        config=config,
        workdir=workdir,
        train=train,
        held_out=held_out,
        codec=jax.device_put(codec, jax.NamedSharding(mesh, jax.P())),
        mesh=mesh,
        blueprint=programs.blueprint,
        state=fresh,
        update=programs.update,
        evaluate=programs.evaluate,
        data_sets=data_sets,
    )


def _write_assets(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    train: WindowDataset,
    start: Start | None,
    stored: encoded.Encoded | None,
) -> None:
    identities = runs.encoders_of(config)
    if stored:
        identities = runs.same_encoders(stored.folder, stored.identities, identities)
    if start:
        identities = runs.same_encoders(start.folder, start.encoders, identities)
    fitted = first_codec(config, train, start.codec if start else None, stored)
    measured = dict(zip(train.source.names, train.statistics, strict=True))
    runs.write_assets(workdir, fitted, measured, train.source, identities)


def open_data(
    config: ml_collections.ConfigDict,
    source: Episodes,
    statistics: Mapping[str, runs.SetStatistics] | None = None,
) -> tuple[WindowDataset, WindowDataset | None]:
    """Training windows and, where episodes are held out, theirs; `statistics` if known already.

    Raises:
      UserError: stored latents or coarse actions are missing or were made from something else.
    """
    sidecars, texts, stored = [], None, None
    if config.data.encoded:
        stored = encoded.read(config.data.encoded)
        encoded.check(stored, config, source.fingerprint)
        sidecars, texts = [encoded.latents(stored)], encoded.texts(stored)
    given = coarse.read(pathlib.Path(config.data.coarse)) if config.data.coarse else None
    if given:
        coarse.check(given, coarse.settings(config, source.fingerprint))
        sidecars.append(given.sidecar)
    args = dict(
        seed=config.seed,
        read_text=reader.open_reader(config, texts),
        sidecars=sidecars,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        multiple=jax.device_count() * config.train.microbatches,
        source=source,
    )
    size = config.train.batch_size
    known = list(statistics.values()) if statistics else None
    train = make_dataset(config.data, batch_size=size, statistics=known, **args)
    if stored:
        number = encoded.note_left_out(stored, train.bad)
        if number and distributed.is_first():
            print(f"{stored.folder}: windows left out: {number}", flush=True)
    if given:
        coarse.check(given, coarse.normalised_by(train.statistics))
    if not config.data.held_out:
        return train, None
    held_out = make_dataset(
        config.data, batch_size=size, split="held_out", statistics=train.statistics, **args
    )
    return train, held_out


def first_codec(
    config: ml_collections.ConfigDict,
    train: WindowDataset,
    given: linear.LinearCodec | None,
    stored: encoded.Encoded | None,
) -> linear.LinearCodec | None:
    """The fitted codec of a new run: that of its stored latents, a given one, or a fresh one.

    Raises:
      UserError: the latents were stored with another codec than the given one.
    """
    if config.encoder.kind != "linear":
        return None
    if stored is None:
        return given or fit_codec(config.encoder, train)
    codec = linear.load(stored.codec)
    if given and not all(map(np.array_equal, *map(jax.tree.leaves, (codec, given)))):
        raise UserError(
            f"{stored.folder}: was stored with another codec than that of config.init_from="
            f"{config.init_from}; encode with this config.init_from to another folder"
        )
    return codec


def fit_codec(config: ml_collections.ConfigDict, train: WindowDataset) -> linear.LinearCodec:
    """Fits the linear codec to evenly spaced training windows and prints what it costs."""
    count = min(config.clips, len(train))
    clips = train.load(np.linspace(0, len(train) - 1, count).astype(np.int64)).pixels
    codec = linear.fit(clips, patch=config.patch, frames=config.frames, channels=config.channels)
    restored = np.asarray(linear.to_uint8(codec.decode(codec.encode(clips[:64]))))
    error = np.square(restored.astype(np.float32) - clips[:64]).mean()
    if config.blind:  # the control that trains without images
        codec = linear.blinded(codec)
    psnr = 10 * math.log10(255**2 / error) if error else math.inf
    print(f"codec psnr: {psnr:.1f} dB (training frames)", flush=True)
    return codec
