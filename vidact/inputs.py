"""The JAX structures that cross rooms: what encoders make of a batch, and what models return."""

import dataclasses
from typing import Any

import flax.struct
from jaxtyping import Array, Bool, Float, Int


@flax.struct.dataclass
class Inputs:
    """A batch behind the frozen encoders: what `model.loss` takes.

    Attributes:
      latents: the clip; frame 0 of the loss is `condition`, not this array's first latent.
      condition: the first frame encoded alone; always clean.
      latent_mask: False = padding, no loss and no attention key.
      actions: normalised, action i leads from frame i to frame i + 1.
      action_mask: False = padding or no label, per dimension.
      state: normalised proprioception at the first frame.
      text: word ids for a model with its own text encoder, else embeddings [B, L, D].
      text_mask: True = a real word.
      fps: frames (and actions) per second.
      dataset_id: row of the mixture, for the log.
      coarse: normalised actions as a trained model sampled them, for training a refiner only.
    """

    latents: Float[Array, "b n h w c"]
    condition: Float[Array, "b 1 h w c"]
    latent_mask: Bool[Array, "b n"]
    actions: Float[Array, "b m a"]
    action_mask: Bool[Array, "b m a"]
    state: Float[Array, "b s"]
    text: Int[Array, "b l"] | Float[Array, "b l d"]
    text_mask: Bool[Array, "b l"]
    fps: Float[Array, "b"]
    dataset_id: Int[Array, "b"]
    coarse: Float[Array, "b m a"] | None = None


@flax.struct.dataclass
class Observation:
    """What a model samples from.

    Attributes:
      condition: the first frame, encoded alone.
      state, text, text_mask, fps: as in `Inputs`.
      latents: the known video, for the inverse mode only.
      actions: the known normalised actions, for the forward mode only.
    """

    condition: Float[Array, "b 1 h w c"]
    state: Float[Array, "b s"]
    text: Int[Array, "b l"] | Float[Array, "b l d"]
    text_mask: Bool[Array, "b l"]
    fps: Float[Array, "b"]
    latents: Float[Array, "b n h w c"] | None = None
    actions: Float[Array, "b m a"] | None = None


@flax.struct.dataclass
class Chunk:
    """What sampling returns: video latents, condition included, and normalised actions."""

    latents: Float[Array, "b n h w c"]
    actions: Float[Array, "b m a"]


@dataclasses.dataclass(frozen=True)
class SampleRequest:
    """How to sample; static under jit.

    Attributes:
      mode: joint | policy | video | forward | inverse (`vidact.processes.joint_time`).
      latents: length of the video in latents, the condition included.
      actions: length of the action chunk.
      steps: Euler steps; the actions' too unless `action_steps` says else.
      action_steps: Euler steps of the actions.
      video_guidance, action_guidance: classifier-free guidance scale per modality; 1 = off.
      refine: whether a model with a refiner uses it.
      family: options of the model family's own, hashable.
    """

    mode: str = "joint"
    latents: int = 3
    actions: int = 8
    steps: int = 30
    action_steps: int | None = None
    video_guidance: float = 1.0
    action_guidance: float = 1.0
    refine: bool = True
    family: tuple[tuple[str, Any], ...] = ()


def observe(inputs: Inputs) -> Observation:
    """The observation of a training sample, video and actions included for the given modes."""
    shared = ("condition", "state", "text", "text_mask", "fps", "latents", "actions")
    return Observation(**{name: getattr(inputs, name) for name in shared})
