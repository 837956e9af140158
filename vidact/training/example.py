"""What a step is given, made up: batches and codecs of a configuration's shapes."""

import ml_collections
import numpy as np

from vidact.batch import Batch
from vidact.encoders.video.codec import OpenSoraCodec, abstract_codec, latent_shape
from vidact.encoders.video.linear import LinearCodec
from vidact.errors import UserError


def batch(config: ml_collections.ConfigDict, pixels: bool = False) -> Batch:
    """A batch of the configuration's shapes, filled with zeros; latents where they are stored.

    Args:
      config: the whole configuration.
      pixels: as for `from_stored`.
    """
    data, model, b = config.data, config.model, config.train.batch_size
    count, words = data.frames - 1, (b, data.max_words)
    stored: dict[str, np.ndarray] = {}
    if from_stored(config, pixels):
        shape = latent_shape(config)
        stored = dict(
            latents=np.zeros((b, *shape), np.float32),
            condition=np.zeros((b, 1, *shape[1:]), np.float32),
            latent_mask=np.ones((b, shape[0]), bool),
        )
    if config.data.coarse:
        stored["coarse"] = np.zeros((b, count, model.action_dim), np.float32)
    embedded = config.encoder.text != "words"
    return Batch(
        video=None
        if "latents" in stored
        else np.zeros((b, data.frames, *data.resolution, 3), np.uint8),
        actions=np.zeros((b, count, model.action_dim), np.float32),
        action_mask=np.ones((b, count, model.action_dim), bool),
        frame_mask=np.ones((b, data.frames), bool),
        state=np.zeros((b, model.state_dim), np.float32),
        text=np.zeros((*words, model.text_width), np.float32)
        if embedded
        else np.ones(words, np.int32),
        text_mask=np.ones(words, bool),
        fps=np.full((b,), data.fps, np.float32),
        embodiment_id=np.zeros((b,), np.int32),
        dataset_id=np.zeros((b,), np.int32),
        **stored,
    )


def from_stored(config: ml_collections.ConfigDict, pixels: bool = False) -> bool:
    """Whether steps start from stored latents: with a published codec unless `pixels` are wanted.

    Training itself goes by `config.data.encoded` alone. Without data that is empty, and a published
    codec within the step is the exception.

    Raises:
      UserError: pixels are wanted of a configuration that names stored latents.
    """
    if pixels and config.data.encoded:
        raise UserError(
            f"config.data.encoded={config.data.encoded!r}: its steps have no pixels; leave it empty"
        )
    return bool(config.data.encoded) or (config.encoder.kind != "linear" and not pixels)


def codec(
    config: ml_collections.ConfigDict, pixels: bool = False
) -> LinearCodec | OpenSoraCodec | None:
    """A codec of the configuration's shapes; None where latents are stored.

    An unfitted linear one, or a published one with shapes in place of its weights.
    """
    if from_stored(config, pixels):
        return None
    if config.encoder.kind != "linear":
        return abstract_codec(config)
    size, encoder = config.encoder.patch**2 * 3, config.encoder
    return LinearCodec(
        mean=np.zeros((*config.data.resolution, 3), np.float32),
        first_basis=np.eye(size, encoder.channels, dtype=np.float32),
        first_scale=np.ones((encoder.channels,), np.float32),
        later_basis=np.eye(size * encoder.frames, encoder.channels, dtype=np.float32),
        later_scale=np.ones((encoder.channels,), np.float32),
        patch=encoder.patch,
        frames=encoder.frames,
    )
