"""What a new run starts from, `config.init_from`, and what of it may be missing.

Everything that trains or is kept must be there in its shape, but for

- layers as wide as actions or states, where the width is another: they alone start anew, each is
  named in one line, and nothing else of the model notices;
- LoRA factors and the refiner, which are trained after the rest;
- with imported weights of STDiT3 all but the video branch and the null text.
"""

import functools
import pathlib
from collections.abc import Iterable, Mapping

import jax
import ml_collections

from vidact import store
from vidact.encoders.video import linear
from vidact.errors import UserError
from vidact.interop import sources
from vidact.interop.sources import Source
from vidact.models import registry
from vidact.nn import flat
from vidact.store import Shape
from vidact.training import prepare, settings, state

# What the model was trained to read; the weights of published encoders are compared besides.
CODES = ("kind", "patch", "frames", "channels", "blind", "text")


def start(config: ml_collections.ConfigDict) -> prepare.Start:
    """What `config.init_from` names: a run, a checkpoint, an exported folder or imported weights.

    The new run measures the statistics of its own data, unless these are the very data that the
    earlier run was trained on: then it keeps that run's. It keeps a fitted codec in any case.

    Raises:
      UserError: the folder is none of these, or was made with other encoders or another scale of
        LoRA factors.
    """
    folder = pathlib.Path(config.init_from)
    source = sources.open_source(folder)
    if source.config is not None:
        _check_codes(folder, source.config, config)
        _check_scale(folder, source.config.model, config.model)
    if source.codec is not None:
        _check_codec(folder, source.codec, config)
    return prepare.Start(
        parameters=functools.partial(parameters, source, config),
        folder=folder,
        codec=source.codec,
        statistics=source.statistics,
        encoders=source.encoders,
    )


def parameters(
    source: Source, config: ml_collections.ConfigDict, fresh: Mapping[str, jax.Array]
) -> dict[str, jax.Array]:
    """Those of a new state's parameters that the source has; prints what starts anew.

    Args:
      source: of `sources.open_source`.
      config: the new run's.
      fresh: by path, whose shardings and dtypes the result takes.

    Raises:
      UserError: lists what is missing, unexpected or misshapen, or names what would stay random.
    """
    anew = changed(source.shapes, config, fresh)
    layers = {path.rpartition("/")[0] for path in anew}
    left = {path for path in fresh if path.rpartition("/")[0] in layers}
    new = {path for path in fresh if path not in source.shapes and source.may_lack(path)}
    wanted = {path: value for path, value in fresh.items() if path not in left | new}
    try:
        store.check_names(
            {path: shape for path, shape in source.shapes.items() if path not in left},
            {path: value.shape for path, value in wanted.items()},
        )
    except UserError as error:
        raise UserError(f"config.init_from={source.folder}: {error}") from error
    _check_trained(left | new, config, fresh)
    for path, (old, now) in anew.items():
        if path.endswith("/kernel"):
            print(f"re-initialised: {path} ({old} -> {now} columns)", flush=True)
    parts = sorted({path.split("/")[0] for path in new if not sources.is_factor(path)})
    parts += ["LoRA factors"] * any(map(sources.is_factor, new))
    told = f"; new: {', '.join(parts)}" if parts else ""
    print(f"{source.folder}: {len(wanted)} of {len(fresh)} parameters taken{told}", flush=True)
    return source.read(wanted)


def changed(
    found: Mapping[str, Shape], config: ml_collections.ConfigDict, fresh: Mapping[str, jax.Array]
) -> dict[str, tuple[int, int]]:
    """Parameters that differ in the width of actions or states alone: path to (old, new) width.

    Args:
      found: shapes of the source.
      config: the new run's.
      fresh: its parameters.
    """
    wider = config.copy_and_resolve_references()
    wider.model.update(action_dim=config.model.action_dim + 1, state_dim=config.model.state_dim + 1)
    one, other = (flat.blueprint(registry.maker(c)).shapes for c in (config, wider))
    result = {}
    for path in found.keys() & fresh.keys():
        here = _differing(one[path].shape, other[path].shape)
        if here and _differing(one[path].shape, found[path]) == here:
            (axis,) = here
            result[path] = (found[path][axis], one[path].shape[axis])
    return dict(sorted(result.items()))


def _differing(a: Shape, b: Shape) -> tuple[int, ...]:
    if len(a) != len(b):
        return ()
    return tuple(i for i, (left, right) in enumerate(zip(a, b, strict=True)) if left != right)


def _check_trained(
    anew: Iterable[str], config: ml_collections.ConfigDict, fresh: Mapping[str, jax.Array]
) -> None:
    """Refuses to freeze what starts from random numbers; the refiner waits for its own training."""
    frozen = state.split_frozen(dict(fresh), config.train.freeze)[1]
    for path in sorted(anew):
        if path in frozen and not path.startswith("refiner/"):
            raise UserError(
                f"config.train.freeze: holds {path}, which config.init_from={config.init_from} "
                "does not give and which would stay random; freeze less"
            )


def _check_codes(
    folder: pathlib.Path, old: ml_collections.ConfigDict, new: ml_collections.ConfigDict
) -> None:
    there, now = ({key: config.encoder[key] for key in CODES} for config in (old, new))
    difference = settings.first_difference(there, now, prefix="config.encoder")
    if difference:
        raise UserError(
            f"config.init_from={folder}: was trained with another encoder: {difference}; use its "
            "values"
        )


def _check_scale(
    folder: pathlib.Path, old: ml_collections.ConfigDict, new: ml_collections.ConfigDict
) -> None:
    """Factors of one rank fit under any alpha, but are another function there."""
    if old.lora_rank == new.lora_rank > 0 and old.lora_alpha != new.lora_alpha:
        raise UserError(
            f"config.model.lora_alpha={new.lora_alpha}: the LoRA factors of config.init_from="
            f"{folder} were trained with {old.lora_alpha}; set that"
        )


def _check_codec(
    folder: pathlib.Path, codec: linear.LinearCodec, config: ml_collections.ConfigDict
) -> None:
    encoder, size = config.encoder, tuple(codec.mean.shape[:2])
    for key, has, wants in (
        ("encoder.kind", "linear", encoder.kind),
        ("encoder.patch", codec.patch, encoder.patch),
        ("encoder.frames", codec.frames, encoder.frames),
        ("encoder.channels", codec.channels, encoder.channels),
        ("data.resolution", size, tuple(config.data.resolution)),
    ):
        if has != wants:
            raise UserError(
                f"config.{key}={wants!r}: the codec of config.init_from={folder} has {has!r}; "
                "set that"
            )
