"""Sizes and switches of a CoVAR model."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import ml_collections

from vidact.errors import UserError
from vidact.processes import support

Grid = tuple[int, int, int]
Shifts = tuple[tuple[Grid, float], ...]


@dataclasses.dataclass(frozen=True)
class CoVARConfig:
    """One CoVAR model; every field is a key of `config.model`.

    Attributes:
      depth: pairs of spatial and temporal video blocks = action blocks = bridges.
      video_width, video_heads: of the video DiT (STDiT3-XL/2: 1152, 16).
      action_width, action_heads: of the action DiT.
      bridge_width, bridge_heads: joint attention of both streams.
      bridge_kind: bridge | self_attention (shared Q, K, V) | cross_attention | none, of CoVAR's
        table IV.
      bridge_every: layers of both streams per bridge; divides `depth`.
      bridge_matched: give self_attention as many parameters as bridge has.
      visibility: what the streams see of each other, one of `vidact.models.covar.visibility`'s
        VISIBILITIES.
      mlp_ratio: hidden over width of every MLP.
      patch: latent pixels per token side.
      latent_channels: channels of the video codec.
      latent_frames: pixel frames per later latent (the codec's temporal factor).
      latent_chunk: pixel frames that the codec codes together (`vidact.latents`); 0 = all.
      action_dim, state_dim: widths of actions and proprioception.
      text_width: width of text embeddings.
      text_depth, vocabulary, max_words: the small text encoder that is trained along.
      text_dropout: probability of replacing the text by the null embedding in training.
      decoder: what decodes actions: unet | mlp | resnet.
      decoder_channels: levels of the UNet, blocks of the ResNet, hidden layer of the MLP.
      refiner_depth, refiner_width, refiner_heads: of the transformer that refines sampled actions;
        depth 0 = none.
      imagine: whether there is a video to denoise; without, the video stream only encodes the
        first frame.
      order: together | video_first (two stages: the video alone, then the actions from it).
      learn_sigma: the video head also predicts an unused variance, as STDiT3 does.
      times: how training draws (t_video, t_action), one of `vidact.processes.joint_time`'s
        independent | shared | logit_beta | asymmetric | two_stage.
      time_shift: r of Open-Sora's transform of the video's times (`opensora_flow.ratio`): of those
        that logit_beta and two_stage train on, and of all that are sampled; 1 = none. As a key of
        `config.model` 0 means that of the clip; `vidact.models.clips` then puts a table here, of
        (frames, height and width in latents) and r.
      mode_share, policy_share: see `vidact.processes.joint_time.draw`.
      dtype: of activations; parameters are float32.
      lora_rank: of the factors beside every affine layer of the video blocks (`vidact.nn.lora`);
        0 = none.
      lora_alpha: what they add is scaled by lora_alpha / lora_rank.
      remat: none | dots | full | offload, see `vidact.nn.layers.scan`.
      unroll: layers per scan iteration.
    """

    depth: int = 28
    video_width: int = 1152
    video_heads: int = 16
    action_width: int = 512
    action_heads: int = 16
    bridge_width: int = 1152
    bridge_heads: int = 16
    bridge_kind: str = "bridge"
    bridge_every: int = 1
    bridge_matched: bool = False
    visibility: str = "joint"
    mlp_ratio: float = 4.0
    patch: int = 2
    latent_channels: int = 4
    latent_frames: int = 4
    latent_chunk: int = 0
    action_dim: int = 7
    state_dim: int = 7
    text_width: int = 4096
    text_depth: int = 0
    vocabulary: int = 1024
    max_words: int = 16
    text_dropout: float = 0.1
    decoder: str = "unet"
    decoder_channels: tuple[int, ...] = (256, 512)
    refiner_depth: int = 0
    refiner_width: int = 512
    refiner_heads: int = 8
    imagine: bool = True
    order: str = "together"
    learn_sigma: bool = False
    times: str = "independent"
    time_shift: float | Shifts = 1.0
    mode_share: float = 0.0
    policy_share: float = 0.25
    lora_rank: int = 0
    lora_alpha: float = 16.0
    dtype: str = "float32"
    remat: str = "none"
    unroll: int = 1

    @property
    def compute_dtype(self) -> Any:
        """The activations' dtype."""
        return jnp.dtype(self.dtype)

    def shift(self, latents: Grid) -> float:
        """The time shift of a clip with so many latents: frames, height, width.

        Raises:
          UserError: it follows the clip, and the configuration knows none of this size.
        """
        if self.times in support.TIED:
            return 1.0
        if not isinstance(self.time_shift, tuple):
            return self.time_shift
        known = dict(self.time_shift)
        if latents not in known:
            raise UserError(
                f"config.model.time_shift=0.0: no clip of config.data has {latents} latents, but "
                f"{', '.join(map(str, known))}; set the shift"
            )
        return known[latents]


def from_config(config: ml_collections.ConfigDict) -> CoVARConfig:
    """A `CoVARConfig` from `config.model` (its `family` key left out).

    Raises:
      UserError: a key is missing or unknown, as in a run of another version.
    """
    fields = {k: v for k, v in config.to_dict().items() if k != "family"}
    strange = fields.keys() ^ {field.name for field in dataclasses.fields(CoVARConfig)}
    if strange:
        raise UserError(
            f"config.model.{min(strange)}: missing or unknown; this configuration is of another "
            "version of vidact"
        )
    fields["decoder_channels"] = tuple(fields["decoder_channels"])
    return CoVARConfig(**fields)
