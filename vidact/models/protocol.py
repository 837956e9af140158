"""What a model family offers the trainer and everyone who samples."""

from typing import Protocol, runtime_checkable

from jaxtyping import Array, Float

from vidact.inputs import Chunk, Inputs, Observation, SampleRequest

Losses = dict[str, tuple[Float[Array, " b"], Float[Array, " b"]]]


@runtime_checkable
class VideoActionModel(Protocol):
    """A joint video and action model; CoVAR is one. Implementations are `nnx.Module`s.

    `loss` returns, per modality, each sample's loss and its weight; the trainer sums loss times
    weight and divides by the sum of weights. Every family owns its sampling loop.
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
