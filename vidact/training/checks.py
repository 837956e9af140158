"""Sizes that must agree with each other and with the data, checked before anything is written."""

from collections.abc import Mapping

import ml_collections

from vidact.actions import METHODS, Statistics
from vidact.errors import UserError

CHOICES = {
    "model.remat": ("none", "dots", "full"),
    "model.dtype": ("float32", "bfloat16"),
    "data.normalisation": METHODS,
}
STREAMS = ("video", "action", "bridge")


def check_sizes(config: ml_collections.ConfigDict) -> None:
    """Refuses a configuration with unknown choices or with parts that do not fit each other.

    Raises:
      UserError: names the key, or both.
    """
    for key, choices in CHOICES.items():
        section, name = key.split(".")
        if config[section][name] not in choices:
            value = config[section][name]
            raise UserError(f"config.{key}={value!r}: choose one of {', '.join(choices)}")
    data, encoder, model = config.data, config.encoder, config.model
    for (left, a), (right, b) in (
        (("model.latent_channels", model.latent_channels), ("encoder.channels", encoder.channels)),
        (("model.latent_frames", model.latent_frames), ("encoder.frames", encoder.frames)),
        (("model.vocabulary", model.vocabulary), ("data.vocabulary", data.vocabulary)),
        (("model.max_words", model.max_words), ("data.max_words", data.max_words)),
    ):
        if a != b:
            raise UserError(f"config.{left}={a}: differs from config.{right}={b}; make them equal")
    if (data.frames - 1) % encoder.frames:
        raise UserError(
            f"config.data.frames={data.frames}: must be 1 + a multiple of "
            f"config.encoder.frames={encoder.frames}"
        )
    if any(side % encoder.patch for side in data.resolution):
        raise UserError(
            f"config.data.resolution={tuple(data.resolution)}: must be multiples of "
            f"config.encoder.patch={encoder.patch}"
        )
    if encoder.channels > 3 * encoder.patch**2:
        raise UserError(
            f"config.encoder.channels={encoder.channels}: a patch has {3 * encoder.patch**2} "
            "values; choose fewer channels or a larger config.encoder.patch"
        )
    _check_widths(model)


def check_data(
    config: ml_collections.ConfigDict, name: str, statistics: Mapping[str, Statistics]
) -> None:
    """Refuses a data set whose actions or states have another width than the model's.

    Args:
      config: the whole configuration.
      name: of the data set, for the message.
      statistics: 'action' and 'state' of the data set.

    Raises:
      UserError: names the key and the width that it should have.
    """
    for kind, measured in statistics.items():
        key, width = f"{kind}_dim", len(measured.mean)
        if config.model[key] != width:
            raise UserError(
                f"config.model.{key}={config.model[key]}: {name} has {width} "
                f"dimensions; set config.model.{key}={width}"
            )


def _check_widths(model: ml_collections.ConfigDict) -> None:
    for stream in STREAMS:
        width, heads = model[f"{stream}_width"], model[f"{stream}_heads"]
        if width % (2 * heads) or width % 4:
            raise UserError(
                f"config.model.{stream}_width={width}: must be a multiple of 4 and of twice "
                f"config.model.{stream}_heads={heads}"
            )
