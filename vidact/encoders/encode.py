"""From a batch of pixels to what models take: the frozen side of the pipeline."""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, UInt8

from vidact.encoders.video.linear import AnyArray, LinearCodec
from vidact.inputs import Inputs, Observation


def encode(codec: LinearCodec, batch: Mapping[str, AnyArray]) -> Inputs:
    """`Inputs` of a `vidact.batch.Batch`'s arrays (its `as_dict()`).

    A later latent counts as real only if every frame that it covers is.
    """
    video, frame_mask = batch["video"], jnp.asarray(batch["frame_mask"])
    later = frame_mask[:, 1:].reshape(frame_mask.shape[0], -1, codec.frames).all(-1)
    kept = ("actions", "action_mask", "state", "text", "text_mask", "fps", "dataset_id")
    return Inputs(
        latents=codec.encode(video),
        condition=codec.encode(video[:, :1]),
        latent_mask=jnp.concatenate([frame_mask[:, :1], later], axis=1),
        **{name: jnp.asarray(batch[name]) for name in kept},
    )


def observation(
    codec: LinearCodec,
    frames: UInt8[AnyArray, "b h w 3"],
    state: Float[AnyArray, "b s"],
    text: Int[AnyArray, "b l"],
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
