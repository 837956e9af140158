"""From a batch to what models take: the frozen side of the pipeline."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, UInt8

from vidact.encoders.video.codec import VideoCodec
from vidact.encoders.video.linear import AnyArray
from vidact.inputs import Inputs, Observation

KEPT = ("actions", "action_mask", "state", "text", "text_mask", "fps", "dataset_id")


def encode(
    codec: VideoCodec | None, batch: Mapping[str, AnyArray], key: Key[Array, ""] | None = None
) -> Inputs:
    """`Inputs` of a `vidact.batch.Batch`'s arrays (its `as_dict()`).

    Stored latents pass through; else the video is encoded.

    Args:
      codec: not needed for stored latents.
      batch: arrays by field.
      key: for a codec that draws its latents.
    """
    if "latents" in batch:
        latents, condition = batch["latents"], batch["condition"]
        latent_mask = batch["latent_mask"]
    else:
        assert codec is not None, "a batch of pixels needs a codec"
        video = batch["video"]
        latents, condition = codec.encode(video, key), codec.encode(video[:, :1])
        latent_mask = masks(batch["frame_mask"], codec.spans(video.shape[1]))
    coarse = batch.get("coarse")
    return Inputs(
        latents=jnp.asarray(latents, jnp.float32),
        condition=jnp.asarray(condition, jnp.float32),
        latent_mask=jnp.asarray(latent_mask),
        coarse=None if coarse is None else jnp.asarray(coarse),
        **{name: jnp.asarray(batch[name]) for name in KEPT},
    )


def masks(
    frame_mask: Bool[AnyArray, "b t"], spans: Int[np.ndarray, "n 2"]
) -> Bool[AnyArray, "b n"]:
    """Which latents are real: those whose frames all are. Padding only ever ends a clip."""
    return frame_mask[:, spans[:, 1]]


def observation(
    codec: VideoCodec,
    frames: UInt8[AnyArray, "b h w 3"],
    state: Float[AnyArray, "b s"],
    text: Int[AnyArray, "b l"] | Float[AnyArray, "b l d"],
    text_mask: Bool[AnyArray, "b l"],
    fps: Float[AnyArray, " b"],
) -> Observation:
    """What a policy sees now: one frame, its normalised state and the instruction."""
    return Observation(
        condition=codec.encode(frames[:, None]),
        state=jnp.asarray(state),
        text=jnp.asarray(text),
        text_mask=jnp.asarray(text_mask),
        fps=jnp.asarray(fps),
    )
