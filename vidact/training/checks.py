"""Sizes that must agree with each other and with the data, checked before anything is written."""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
import numpy as np

from data_pipelines import opening
from vidact import tiles
from vidact.actions import METHODS
from vidact.encoders.text import reader
from vidact.encoders.video import codec
from vidact.errors import UserError
from vidact.models import registry
from vidact.models.covar import action_decoder, bridge, text_encoder, visibility
from vidact.nn import layers, unet1d
from vidact.processes import joint_time, support
from vidact.training import optimizer

# Per family, what has a width and heads of its own.
STREAMS = {
    "covar": ("video", "action", "bridge", "refiner"),
    "joint_dit": ("video", "refiner"),
}
# Per family, switches of parts that it does not have: any other value would change nothing.
ABSENT: dict[str, dict[str, Any]] = {
    "covar": {},
    "joint_dit": {
        "bridge_kind": "bridge",
        "bridge_every": 1,
        "bridge_matched": False,
        "lora_rank": 0,
    },
}
# (smallest, largest, keys)
BOUNDS = (
    (1, math.inf, "mesh.tensor mesh.context train.microbatches"),
    (1, math.inf, "data.threads encoder.patch encoder.frames encoder.channels"),
    (1, math.inf, "encoder.clips model.depth model.patch model.action_dim model.state_dim"),
    (1, math.inf, "model.video_width model.video_heads model.action_width model.action_heads"),
    (1, math.inf, "model.bridge_width model.bridge_heads model.bridge_every"),
    (1, math.inf, "model.refiner_width model.refiner_heads"),
    (1, math.inf, "model.mlp_ratio model.unroll"),
    (1, math.inf, "model.text_width model.vocabulary encoder.stride model.max_words"),
    (1, math.inf, "train.steps train.batch_size train.log_every train.evaluate_every"),
    (1, math.inf, "train.checkpoint_every train.keep train.stop_after_skipped"),
    (2, math.inf, "data.frames"),
    (0, math.inf, "data.fps data.held_out data.cache_mb optimizer.warmup optimizer.weight_decay"),
    (0, math.inf, "train.keep_every train.keep_best"),
    (0, math.inf, "train.loss_weights.video train.loss_weights.action train.loss_weights.refiner"),
    (0, math.inf, "model.latent_chunk model.refiner_depth model.text_depth model.lora_rank"),
    (0, 1, "model.text_dropout model.mode_share model.policy_share train.ema optimizer.final"),
    (0, math.inf, "train.spike train.picture_every model.time_shift"),
    (0, 2**32 - 1, "seed"),
)
POSITIVE = (
    "model.lora_alpha",
    "optimizer.learning_rate",
    "optimizer.clip",
    "optimizer.eps",
)
MULTIPLES = {"model.text_width": text_encoder.HEADS, "model.decoder_channels": unet1d.GROUPS}
CHOICES = {
    "model.family": tuple(registry.FAMILIES),
    "model.remat": ("none", *layers.REMAT),
    "model.dtype": ("float32", "bfloat16"),
    "model.bridge_kind": bridge.KINDS,
    "model.visibility": visibility.VISIBILITIES,
    "model.times": tuple(joint_time.SAMPLERS),
    "model.order": joint_time.ORDERS,
    "model.decoder": tuple(action_decoder.DECODERS),
    "data.normalisation": METHODS,
    "encoder.kind": codec.KINDS,
    "encoder.text": reader.KINDS,
    "encoder.dtype": ("float32", "bfloat16"),
    "optimizer.kind": tuple(optimizer.KINDS),
    "train.frozen_dtype": ("float32", "bfloat16"),
}


def check_sizes(config: ml_collections.ConfigDict) -> None:
    """Refuses a configuration with unknown choices or with parts that do not fit each other.

    Raises:
      UserError: names the key, or both.
    """
    _check_values(config)
    data, encoder, model = config.data, config.encoder, config.model
    for (left, a), (right, b) in (
        (
            ("model.latent_channels", model.latent_channels),
            ("config.encoder.channels", encoder.channels),
        ),
        (("model.latent_frames", model.latent_frames), ("config.encoder.frames", encoder.frames)),
        (("model.vocabulary", model.vocabulary), ("config.data.vocabulary", data.vocabulary)),
        (("model.max_words", model.max_words), ("config.data.max_words", data.max_words)),
        (("model.latent_chunk", model.latent_chunk), ("encoder's chunk", codec.chunk(encoder))),
    ):
        if a != b:
            raise UserError(f"config.{left}={a}: differs from {right}={b}; make them equal")
    for frames, *resolution in data.buckets or ((data.frames, *data.resolution),):
        if encoder.kind == "linear":
            _check_linear(data, encoder, frames, resolution)
    if data.history:
        raise UserError(
            f"config.data.history={data.history}: the family {model.family} sees no frame before "
            "the first; set 0"
        )
    if (encoder.text == "words") != (model.text_depth > 0):
        raise UserError(
            f"config.model.text_depth={model.text_depth}: with config.encoder.text="
            f"{encoder.text!r} it must be {'above 0' if encoder.text == 'words' else '0'}, since "
            "words are embedded by the model and embeddings are not"
        )
    if config.data.coarse and not model.refiner_depth:
        raise UserError("config.model.refiner_depth=0: config.data.coarse trains a refiner; set 4")
    _check_widths(model)
    _check_times(config)
    check_evaluate(config)
    _check_loop(config)
    _check_kept(config)


def _check_times(config: ml_collections.ConfigDict) -> None:
    model = config.model
    if model.times in support.TIED and model.time_shift not in (0.0, 1.0):
        raise UserError(
            f"config.model.time_shift={model.time_shift}: config.model.times={model.times!r} ties "
            "the two times, and none is shifted; set 1.0"
        )
    if model.times == "two_stage" and model.order != "video_first":
        raise UserError(
            f"config.model.order={model.order!r}: config.model.times='two_stage' trains the video "
            "first; set video_first"
        )
    registry.sizes(config)  # clips that have no shift


def check_evaluate(config: ml_collections.ConfigDict) -> None:
    """Refuses to sample, as config.evaluate says, what the model was not trained for.

    Raises:
      UserError: names the key and what is missing.
    """
    _check_guidance(config)
    settings, model = config.evaluate, config.model
    trained = support.modes(model.times, model.mode_share) if model.imagine else joint_time.MODES
    if settings.mode not in trained:
        raise UserError(
            f"config.evaluate.mode={settings.mode!r}: not trained with config.model.times="
            f"{model.times!r}; choose {' or '.join(trained)}"
        )
    # Held-out windows are sampled jointly, rollouts in their own mode.
    for key in ("sample_steps", "steps")[: 1 + (settings.mode == "joint")]:
        actions = settings.action_steps or settings[key]
        if not support.allows(model.times, settings[key], actions):
            raise UserError(
                f"config.evaluate.action_steps={actions}: beside config.evaluate.{key}="
                f"{settings[key]} leads through times that config.model.times={model.times!r} does "
                "not train; set 0"
            )


def _check_guidance(config: ml_collections.ConfigDict) -> None:
    """Guidance asks for a model that learnt what it does without the text."""
    for key in ("video_guidance", "action_guidance"):
        for section, name in (("model", "text_dropout"), ("data", "instruction_key")):
            if config.evaluate[key] != 1.0 and not config[section][name]:
                raise UserError(
                    f"config.evaluate.{key}={config.evaluate[key]}: leads away from the null text, "
                    f"which config.{section}.{name}={config[section][name]!r} does not train; set "
                    "1.0"
                )


def _check_loop(config: ml_collections.ConfigDict) -> None:
    """What has neither bounds nor choices."""
    train = config.train
    if train.picture_every and not config.data.held_out:
        raise UserError(
            f"config.train.picture_every={train.picture_every}: pictures are of held-out episodes; "
            "set config.data.held_out, or 0"
        )
    if 0 < train.spike <= 1:
        raise UserError(
            f"config.train.spike={train.spike}: must be above 1, or 0 to skip only what is not "
            "finite"
        )
    if train.profile:
        whole = len(train.profile) == 2 and all(isinstance(n, int) for n in train.profile)
        if not whole or not 1 <= train.profile[0] <= train.profile[1]:
            raise UserError(
                f"config.train.profile={train.profile}: must be the first and the last step, for "
                "example (10, 12), or ()"
            )


def _check_kept(config: ml_collections.ConfigDict) -> None:
    train = config.train
    if train.keep_every % train.checkpoint_every:
        raise UserError(
            f"config.train.keep_every={train.keep_every}: must be a multiple of "
            f"config.train.checkpoint_every={train.checkpoint_every}"
        )
    if train.keep_best and not config.data.held_out:
        raise UserError(
            f"config.train.keep_best={train.keep_best}: the best have the least held-out loss, and "
            "config.data.held_out=0; hold some episodes out, or set 0"
        )


def _check_linear(
    data: ml_collections.ConfigDict,
    encoder: ml_collections.ConfigDict,
    frames: int,
    resolution: Sequence[int],
) -> None:
    """What the linear codec asks of windows of one shape."""
    if (frames - 1) % encoder.frames:
        raise UserError(
            f"config.data.frames={frames}: must be 1 + a multiple of "
            f"config.encoder.frames={encoder.frames}"
        )
    if len(resolution) != 2 or any(side < 1 or side % encoder.patch for side in resolution):
        raise UserError(
            f"config.data.resolution={tuple(resolution)}: must be two multiples of "
            f"config.encoder.patch={encoder.patch}"
        )
    tiles.check(opening.cameras(data), resolution, data.tiles)
    if encoder.channels > 3 * encoder.patch**2:
        raise UserError(
            f"config.encoder.channels={encoder.channels}: a patch has {3 * encoder.patch**2} "
            "values; choose fewer channels or a larger config.encoder.patch"
        )


def _check_values(config: ml_collections.ConfigDict) -> None:
    """Each value by itself; what is not a number fails every comparison."""
    for key, choices in CHOICES.items():
        if _value(config, key) not in choices:
            raise UserError(
                f"config.{key}={_value(config, key)!r}: choose one of {', '.join(choices)}"
            )
    for low, high, keys in BOUNDS:
        for key in keys.split():
            if not low <= _value(config, key) <= high:
                limits = f"at least {low}" if high == math.inf else f"in [{low}, {high}]"
                raise UserError(f"config.{key}={_value(config, key)}: must be {limits}")
    for key in POSITIVE:
        if not 0 < _value(config, key) < float("inf"):
            raise UserError(f"config.{key}={_value(config, key)}: must be above 0")
    for key, factor in MULTIPLES.items():
        values = np.atleast_1d(_value(config, key))
        if not values.size or (values < 1).any() or (values % factor).any():
            raise UserError(f"config.{key}={_value(config, key)}: must be multiples of {factor}")


def _value(config: ml_collections.ConfigDict, key: str) -> Any:
    return functools.reduce(lambda section, name: section[name], key.split("."), config)


def check_data(config: ml_collections.ConfigDict, name: str, widths: Mapping[str, int]) -> None:
    """Refuses a data set whose actions or states have another width than the model's.

    Args:
      config: the whole configuration.
      name: of the data set, for the message.
      widths: columns of its 'action' and 'state'.

    Raises:
      UserError: names the key and the width that it should have.
    """
    for kind, width in widths.items():
        key = f"{kind}_dim"
        if config.model[key] != width:
            raise UserError(
                f"config.model.{key}={config.model[key]}: {name} has {width} "
                f"dimensions; set config.model.{key}={width}"
            )


def _check_widths(model: ml_collections.ConfigDict) -> None:
    for key, value in ABSENT[model.family].items():
        if model[key] != value:
            raise UserError(
                f"config.model.{key}={model[key]!r}: means nothing to the family {model.family}; "
                f"leave it at {value!r}"
            )
    if model.depth % model.bridge_every:
        raise UserError(
            f"config.model.bridge_every={model.bridge_every}: must divide "
            f"config.model.depth={model.depth}"
        )
    for stream in STREAMS[model.family]:
        width, heads = model[f"{stream}_width"], model[f"{stream}_heads"]
        if width % (2 * heads) or width % 4:
            raise UserError(
                f"config.model.{stream}_width={width}: must be a multiple of 4 and of twice "
                f"config.model.{stream}_heads={heads}"
            )
