"""The sizes of the clips that a configuration asks for, and Open-Sora's time shift of each."""

import ml_collections

from vidact import latents
from vidact.errors import UserError
from vidact.models.covar.config import Grid, Shifts
from vidact.processes import opensora_flow

# Open-Sora's VAE pads both sides to multiples of 16 pixels, 8 a latent (specs/opensora.md 3).
MULTIPLE, SIDE = 16, 8


def shifts(config: ml_collections.ConfigDict) -> Shifts:
    """r of `opensora_flow.ratio` for each clip of a configuration, by its size in latents.

    Args:
      config: the whole configuration.

    Raises:
      UserError: Open-Sora knows no shift for so few frames, or two clips of different shifts have
        the same latents.
    """
    found: dict[Grid, float] = {}
    for frames, height, width in _clips(config.data):
        try:
            ratio = float(opensora_flow.ratio(height, width, frames))
        except ValueError as error:
            raise UserError(
                f"config.model.time_shift=0.0: Open-Sora has no shift for clips of {frames} frames "
                "(2 to 16); set 1.0 for none, or another"
            ) from error
        if found.setdefault(grid(config, frames, height, width), ratio) != ratio:
            raise UserError(
                f"config.model.time_shift=0.0: the clip {(frames, height, width)} has as many "
                "latents as one of another size in config.data; set the shift, or leave one out"
            )
    return tuple(found.items())


def grid(config: ml_collections.ConfigDict, frames: int, height: int, width: int) -> Grid:
    """Frames, height and width of a clip in latents, as the encoder of `config` codes it."""
    model, encoder = config.model, config.encoder
    count = len(latents.spans(frames, model.latent_frames, model.latent_chunk))
    if encoder.kind == "linear":
        return count, height // encoder.patch, width // encoder.patch
    step = MULTIPLE // SIDE
    return count, -(-height // MULTIPLE) * step, -(-width // MULTIPLE) * step


def _clips(data: ml_collections.ConfigDict) -> list[tuple[int, int, int]]:
    """Of config.data itself, which is sampled, and of its buckets, which are trained on."""
    height, width = data.resolution
    return [(data.frames, height, width), *(tuple(bucket) for bucket in data.buckets)]
