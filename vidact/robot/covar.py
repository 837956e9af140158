"""CoVAR in PyTorch: velocities of both streams and Euler steps in five modes.

The same maths as `vidact.models.covar.model`, without training; a chunk has no padding here.
"""

import dataclasses

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vidact.robot import bridge
from vidact.robot.action_dit import ActionDiT
from vidact.robot.config import Sizes
from vidact.robot.sampling import Request, schedule
from vidact.robot.text_encoder import TextEncoder
from vidact.robot.video_dit import VideoDiT


@dataclasses.dataclass(frozen=True, kw_only=True)
class Observation:
    """What the model samples from.

    Attributes:
      condition: the first frame, encoded alone.
      state: normalised proprioception.
      text: word ids, or embeddings where the model has no text encoder.
      text_mask: True = a real word.
      fps: frames a second.
    """

    condition: Float[Tensor, "b 1 h w c"]
    state: Float[Tensor, "b s"]
    text: Int[Tensor, "b l"] | Float[Tensor, "b l d"]
    text_mask: Bool[Tensor, "b l"]
    fps: Float[Tensor, "b"]


class CoVAR(nn.Module):
    """Both streams, their bridges, and the text encoder where the model has its own."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.sizes = sizes
        self.video = VideoDiT(sizes)
        self.action = ActionDiT(sizes)
        self.bridges = nn.ModuleList(bridge.Bridge(sizes) for _ in range(sizes.depth))
        self.text_encoder = TextEncoder(sizes) if sizes.text_depth else None

    def encode_text(
        self, text: Int[Tensor, "b l"] | Float[Tensor, "b l d"], mask: Bool[Tensor, "b l"]
    ) -> Float[Tensor, "b l d"]:
        """Text embeddings; those of a frozen encoder stay as they are."""
        return text if self.text_encoder is None else self.text_encoder(text, mask)

    def velocities(
        self,
        latents: Float[Tensor, "b n h w c"],
        actions: Float[Tensor, "b m a"],
        t_video: Float[Tensor, "b n"],
        t_action: Float[Tensor, "b m"],
        observation: Observation,
        text: Float[Tensor, "b l d"],
    ) -> tuple[Float[Tensor, "b n h w c"], Float[Tensor, "b m a"]]:
        """Velocities of both modalities, each token at its own time in [0, 1].

        Args:
          latents: noisy latents, the clean condition first.
          actions: noisy normalised actions.
          t_video: per latent frame, 0 where it is clean.
          t_action: per action.
          observation: state, text mask and fps are read.
          text: from `encode_text`.
        """
        words, fps, count = observation.text_mask, observation.fps, actions.shape[1]
        x, y = self.video.embed(latents), self.video.y_embedder.y_proj(text)
        a, ya = self.action.embed(actions, observation.state), self.action.y_proj(text)
        t_action = nn.functional.pad(t_action, (1, 0))  # the state token is clean
        video_time, t6 = self.video.time(t_video, fps)
        action_time, a6 = self.action.time(t_action, fps)
        turn_video = self.video.rotation(latents.shape[1])
        turn_action = self.action.rotation(count, x.device)
        turns = bridge.rotations(self.sizes, x.shape[1], x.shape[2], count, x.device)
        stacks = (self.video.spatial_blocks, self.video.temporal_blocks, self.action.blocks)
        for spatial, temporal, action, link in zip(*stacks, self.bridges, strict=True):
            x = spatial(x, t6, y, words)
            x = temporal(x, t6, y, words, turn_video)
            a = action(a, a6, ya, words, turn_action)
            x, a = link(x, a, turns, None)
        v_video = self.video.head(x, video_time, tuple(latents.shape))
        return v_video, self.action.decode(a, action_time)

    @torch.no_grad()
    def denoise(
        self,
        observation: Observation,
        latents: Float[Tensor, "b n h w c"],
        actions: Float[Tensor, "b m a"],
        request: Request,
    ) -> tuple[Float[Tensor, "b n h w c"], Float[Tensor, "b m a"]]:
        """Euler steps in one of the five modes; the first frame is always clean.

        Args:
          observation: what is known.
          latents: noise, or the known video for the mode `inverse`.
          actions: noise, or the known normalised actions for the mode `forward`.
          request: mode, steps and guidance.

        Returns:
          Latents, the condition first, and normalised actions. What a mode pins comes back as it
          went in.
        """
        latents = torch.cat([observation.condition, latents[:, 1:]], dim=1)
        times = schedule(request, self.sizes.time_shift)
        texts = self._texts(observation, request)
        for now, after in zip(times[:-1], times[1:], strict=True):
            v_video, v_action = self._guided(latents, actions, now, observation, texts, request)
            step = now - after
            later = latents[:, 1:] + v_video[:, 1:] * float(step[0])
            latents = torch.cat([latents[:, :1], later], dim=1)
            actions = actions + v_action * float(step[1])
        return latents, actions

    def _texts(self, observation: Observation, request: Request) -> list[Tensor]:
        """The text's embeddings and, where a modality is guided, the null text's."""
        kept = self.encode_text(observation.text, observation.text_mask)
        if not request.guided:
            return [kept]
        return [kept, self.video.y_embedder.y_embedding[: kept.shape[1]].expand_as(kept)]

    def _guided(self, latents, actions, now, observation, texts, request: Request):
        """Velocities at the times `now`, with classifier-free guidance per modality."""
        t_video = torch.full(latents.shape[:2], float(now[0]), device=latents.device)
        t_video[:, 0] = 0.0
        t_action = torch.full(actions.shape[:2], float(now[1]), device=actions.device)
        args = (latents, actions, t_video, t_action, observation)
        v_video, v_action = self.velocities(*args, texts[0])
        if len(texts) == 1:
            return v_video, v_action
        u_video, u_action = self.velocities(*args, texts[1])
        v_video = u_video + request.video_guidance * (v_video - u_video)
        return v_video, u_action + request.action_guidance * (v_action - u_action)
