"""What a model family offers the trainer and everyone who samples."""

from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Array, Float

from vidact.inputs import Chunk, Inputs, Observation, SampleRequest


class ModalityLoss(NamedTuple):
    """A modality's loss per sample.

    Attributes:
      error: mean loss of the sample's labelled elements, float32.
      weight: how much the sample counts, for example the share of labelled elements.
      t: the time in [0, 1] that it was trained at, for the log.
    """

    error: Float[Array, "b"]
    weight: Float[Array, "b"]
    t: Float[Array, "b"]


Losses = dict[str, ModalityLoss]


@runtime_checkable
class VideoActionModel(Protocol):
    """A joint video and action model; CoVAR is one. Implementations are `nnx.Module`s.

    The trainer sums each modality's error times weight and divides by the sum of weights. Every
    family owns its sampling loop.
    """

    def loss(self, inputs: Inputs, key: Array, t: Float[Array, "b 2"] | None = None) -> Losses:
        """Losses of a batch; `t` fixes (t_video, t_action) for an evaluation loss."""
        ...

    def sample(self, observation: Observation, key: Array, request: SampleRequest) -> Chunk:
        """Draws video latents and normalised actions."""
        ...

    def denoise(self, observation: Observation, noise: Chunk, request: SampleRequest) -> Chunk:
        """`sample` from given noise, for comparing implementations."""
        ...
