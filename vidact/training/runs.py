"""A work directory: what training writes there and every other command reads."""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import ml_collections

from data_pipelines import encoded
from data_pipelines.episodes import Episodes
from vidact import actions, whole
from vidact.encoders import frozen
from vidact.encoders.text import reader
from vidact.encoders.video import linear
from vidact.encoders.video.codec import VideoCodec, open_codec
from vidact.errors import UserError
from vidact.models import registry
from vidact.models.protocol import VideoActionModel
from vidact.nn import flat
from vidact.training import assets, checkpoints, settings

SetStatistics = Mapping[str, actions.Statistics]

CONFIG = "config.json"
CODEC = f"{assets.FOLDER}/video_codec.safetensors"
STATISTICS = f"{assets.FOLDER}/statistics.json"
DATA_SET = f"{assets.FOLDER}/data_set.json"
ENCODERS = f"{assets.FOLDER}/encoders.json"
SECTIONS = ("seed", "mesh", "data", "encoder", "model", "optimizer", "train", "evaluate")


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained model with everything that it needs.

    Attributes:
      workdir: where it was read from: a work directory, or a checkpoint that was named itself.
      step: the checkpoint's step.
      config: the configuration that it was trained with.
      model: with the inference (averaged) weights.
      statistics: by data set, in the order of dataset_id: 'action' and 'state', for normalising.
      rates: by data set, steps a second.
    """

    workdir: pathlib.Path
    step: int
    config: ml_collections.ConfigDict
    model: VideoActionModel
    statistics: dict[str, SetStatistics]
    rates: dict[str, float]

    @property
    def own(self) -> SetStatistics:
        """Statistics of the data set whose robot is meant; see `data_set`."""
        return self.statistics[self.data_set]

    @property
    def fps(self) -> float:
        """Steps a second of the data set whose robot is meant."""
        return self.rates[self.data_set]

    @property
    def data_set(self) -> str:
        """The data set whose robot is meant: config.evaluate.data_set, or the only one.

        Raises:
          UserError: several data sets and none named, or another.
        """
        name = self.config.evaluate.data_set
        if not name and len(self.statistics) == 1:
            return next(iter(self.statistics))
        if name not in self.statistics:
            raise UserError(
                f"config.evaluate.data_set={name!r}: this run was trained on "
                f"{', '.join(self.statistics)}; name the one whose robot is meant"
            )
        return name

    @functools.cached_property
    def codec(self) -> VideoCodec:
        """The video codec, read when it is first needed.

        Raises:
          UserError: its weights are missing, or not those that the run was trained with.
        """
        check_encoders(self.workdir, self.config)
        return open_codec(self.config, self.workdir / CODEC)

    @functools.cached_property
    def read_text(self) -> reader.Reader:
        """From instructions to what the model reads; stored embeddings are read now.

        Raises:
          UserError: they cannot be read, or are not those that the run was trained with.
        """
        check_encoders(self.workdir, self.config)
        folder = self.config.data.encoded
        known = encoded.texts(encoded.read(folder)) if folder else None
        return reader.open_reader(self.config, known)


def read_config(workdir: str | pathlib.Path) -> ml_collections.ConfigDict:
    """The configuration that a work directory, or a checkpoint, was trained with.

    Raises:
      UserError: there is no such work directory, or the file is damaged.
    """
    path = pathlib.Path(workdir) / CONFIG
    if checkpoints.is_one(path.parent):
        return _checked(path.parent, checkpoints.restore_meta(path.parent)["config"])
    if not path.is_file():
        raise UserError(f"{path}: no such file; give the work directory of a training run")
    try:
        values = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path}: not a configuration ({error}); restore or train again") from error
    return _checked(path, values)


def _checked(path: pathlib.Path, values: Any) -> ml_collections.ConfigDict:
    try:
        config = ml_collections.ConfigDict(_with_tuples(values))
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: not a configuration ({error}); restore or train again") from error
    missing = [name for name in SECTIONS if name not in config]
    if missing:
        raise UserError(f"{path}: has no config.{missing[0]}; restore it or train again")
    return config


def load(checkpoint: str | pathlib.Path, step: int | None = None) -> Run:
    """Reads a work directory's newest checkpoint, or that of `step`, or one checkpoint's folder.

    Raises:
      UserError: the folder, the checkpoint or an asset is missing or does not fit.
    """
    workdir = pathlib.Path(checkpoint)
    config = read_config(workdir)
    plan = flat.blueprint(registry.maker(config))
    folder = find(workdir, step)
    meta = checkpoints.restore_meta(folder)
    settings.check_config(workdir / CONFIG, config, meta["config"])
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    shapes = {
        k: jax.ShapeDtypeStruct(v.shape, v.dtype, sharding=device) for k, v in plan.shapes.items()
    }
    params = checkpoints.restore_parameters(folder, shapes)
    return Run(
        workdir=workdir,
        step=meta["step"],
        config=config,
        model=plan.assemble(params),
        statistics=read_statistics(workdir),
        rates=read_data_set(workdir)[1],
    )


def find(checkpoint: pathlib.Path, step: int | None = None) -> pathlib.Path:
    """The folder of a work directory's newest checkpoint, or of that of `step`.

    Args:
      checkpoint: the work directory; or a checkpoint's own folder, which is given back.
      step: which one.

    Raises:
      UserError: there is none.
    """
    if checkpoints.is_one(checkpoint):
        if step is not None:
            raise UserError(f"{checkpoint}: is one checkpoint already; leave out --step")
        if not checkpoints.finished(checkpoint):
            raise UserError(f"{checkpoint}: was never finished; choose another checkpoint")
        return checkpoint
    found = checkpoints.steps(checkpoint)
    if not found:
        raise UserError(f"{checkpoint}: holds no checkpoint yet; train longer")
    if step is not None and step not in found:
        raise UserError(f"{checkpoint}: no checkpoint of step {step}; there are {found}")
    return checkpoint / checkpoints.FOLDER / str(found[-1] if step is None else step)


def has_checkpoint(workdir: pathlib.Path) -> bool:
    """Whether there is something to continue from."""
    return bool(checkpoints.steps(workdir))


def write_assets(
    workdir: pathlib.Path,
    codec: VideoCodec | None,
    statistics: Mapping[str, SetStatistics],
    source: Episodes,
    encoders: Mapping[str, str],
) -> None:
    """Writes what belongs to the weights and never changes, each whole or not at all.

    Args:
      workdir: made if it is not there.
      codec: written if it was fitted to the data; one with published weights is only named.
      statistics: by data set: 'action' and 'state'.
      source: the data sets.
      encoders: of `encoders_of`.
    """
    named = {f"{name}/{kind}": s for name, by in statistics.items() for kind, s in by.items()}
    actions.save_statistics(workdir / STATISTICS, named)
    if isinstance(codec, linear.LinearCodec):
        linear.save(codec, workdir / CODEC)
    whole.write(workdir / ENCODERS, json.dumps(dict(encoders)))
    told = json.dumps({"sha256": source.fingerprint, "fps": source.rates})
    whole.write(workdir / DATA_SET, told)


def read_statistics(workdir: pathlib.Path) -> dict[str, SetStatistics]:
    """Statistics of 'action' and 'state' by data set, in the order of dataset_id.

    Raises:
      UserError: the file is missing or damaged.
    """
    found: dict[str, dict[str, actions.Statistics]] = {}
    for key, value in actions.load_statistics(workdir / STATISTICS).items():
        name, _, kind = key.rpartition("/")
        found.setdefault(name, {})[kind] = value
    return {name: dict(kinds) for name, kinds in found.items()}


def write_config(workdir: pathlib.Path, config: ml_collections.ConfigDict) -> None:
    """Writes config.json, whole or not at all."""
    text = json.dumps(config.to_dict(), indent=2) + "\n"
    whole.write(workdir / CONFIG, text)


def encoders_of(config: ml_collections.ConfigDict) -> dict[str, str]:
    """Identities of the frozen networks that a configuration names: "video" and "text".

    Networks without published weights, and those whose folder is not given, have none.
    """
    encoder = config.encoder
    given = {"video": encoder.weights, "text": encoder.text_weights}
    named = {"video": encoder.kind != "linear", "text": encoder.text != "words"}
    return {k: frozen.identity(v) for k, v in given.items() if v and named[k]}


def check_encoders(workdir: pathlib.Path, config: ml_collections.ConfigDict) -> None:
    """Refuses frozen networks with other weights than those that a run was trained with.

    Raises:
      UserError: names the network.
    """
    same_encoders(workdir, read_encoders(workdir), encoders_of(config))


def read_encoders(workdir: pathlib.Path) -> dict[str, str]:
    """Identities of the frozen networks that a run was trained with, see `encoders_of`.

    Raises:
      UserError: the file is missing or damaged.
    """
    try:
        return dict(json.loads((workdir / ENCODERS).read_text()))
    except (OSError, TypeError, ValueError) as error:
        raise UserError(f"{workdir / ENCODERS}: {error!r}; restore it or train again") from error


def same_encoders(
    where: pathlib.Path, known: Mapping[str, str], found: Mapping[str, str]
) -> dict[str, str]:
    """The identities on both sides, which must agree where both have one.

    Args:
      where: the folder that was made with `known`.
      known, found: see `encoders_of`.

    Raises:
      UserError: names the network.
    """
    keys = {"video": "weights", "text": "text_weights"}
    for name in known.keys() & found.keys():
        if known[name] != found[name]:
            raise UserError(
                f"config.encoder.{keys[name]}: not the weights that {where} was made with; give "
                "their folder"
            )
    return {**known, **found}


def check_data_set(workdir: pathlib.Path, name: str, fingerprint: str) -> None:
    """Refuses to go on with other data than the run began with: its statistics would not fit.

    Raises:
      UserError: names the data set.
    """
    if read_data_set(workdir)[0] != fingerprint:
        raise UserError(
            f"{name}: not the data set that {workdir} was trained on; set config.data.root to that "
            "one, or choose another --workdir"
        )


def read_data_set(workdir: pathlib.Path) -> tuple[str, dict[str, float]]:
    """Hash of the data that a run was trained on, and steps a second by data set.

    Raises:
      UserError: the file is missing or damaged.
    """
    try:
        told = json.loads((workdir / DATA_SET).read_text())
        return str(told["sha256"]), {name: float(rate) for name, rate in told["fps"].items()}
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{workdir / DATA_SET}: {error!r}; restore it or train again") from error


def _with_tuples(value: Any) -> Any:
    """JSON has no tuples, configurations no lists."""
    if isinstance(value, dict):
        return {name: _with_tuples(inner) for name, inner in value.items()}
    return tuple(value) if isinstance(value, list) else value
