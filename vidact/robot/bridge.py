"""Bridge Attention: one joint softmax over both streams; see `vidact.models.covar.bridge`."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vidact.robot import attention
from vidact.robot.config import Sizes
from vidact.robot.layers import RMSNorm, layer_norm

Rotations = tuple[Tensor, Tensor]  # each an attention.Rotation, of its own length


class Side(nn.Module):
    """One modality's projections into and out of the bridge."""

    def __init__(self, width: int, bridge: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * bridge)
        self.q_norm = RMSNorm(bridge // heads)
        self.k_norm = RMSNorm(bridge // heads)
        self.proj = nn.Linear(bridge, width)

    def project(self, x: Float[Tensor, "b n c"], turn: attention.Rotation):
        """Queries, keys and values [B, N, heads, d] of normalised, rotated tokens."""
        q, k, v = self.qkv(layer_norm(x)).unflatten(-1, (3, self.heads, -1)).unbind(2)
        q, k = self.q_norm(q), self.k_norm(k)
        return attention.rotate(q, turn), attention.rotate(k, turn), v


class Bridge(nn.Module):
    """Separate Q, K, V per modality, one softmax over both."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        self.video = Side(sizes.video_width, sizes.bridge_width, sizes.bridge_heads)
        self.action = Side(sizes.action_width, sizes.bridge_width, sizes.bridge_heads)

    def forward(
        self,
        video: Float[Tensor, "b t s c"],
        action: Float[Tensor, "b m 1 d"],
        turns: Rotations,
        key_mask: Bool[Tensor, "b n"] | None,
    ) -> tuple[Float[Tensor, "b t s c"], Float[Tensor, "b m 1 d"]]:
        """Both streams with what they saw added.

        Args:
          video: tokens of the video stream.
          action: tokens of the action stream, the state's first.
          turns: RoPE tables of the video's T * S and of the action's M tokens.
          key_mask: [B, T * S + M], False = padding.
        """
        flat = video.flatten(1, 2)
        count = flat.shape[1]
        sides = (
            self.video.project(flat, turns[0]),
            self.action.project(action[:, :, 0], turns[1]),
        )
        q, k, v = (torch.cat(pair, dim=1) for pair in zip(*sides, strict=True))
        seen = attention.attend(q, k, v, key_mask).flatten(2)
        video = video + self.video.proj(seen[:, :count]).reshape(video.shape)
        return video, action + self.action.proj(seen[:, count:])[:, :, None]


def rotations(
    sizes: Sizes, frames: int, tokens: int, actions: int, device: torch.device
) -> Rotations:
    """RoPE tables in control steps: latents in the middle of their frames, actions halfway."""
    rates = attention.frequencies(sizes.bridge_width // sizes.bridge_heads).to(device)
    start = torch.zeros(1, device=device)
    later = torch.arange(1, frames, dtype=torch.float32, device=device)
    later = later * sizes.latent_frames - (sizes.latent_frames - 1) / 2
    video = torch.cat([start, later]).repeat_interleave(tokens)
    halves = torch.arange(actions, dtype=torch.float32, device=device) + 0.5
    return attention.rotation(video, rates), attention.rotation(torch.cat([start, halves]), rates)
