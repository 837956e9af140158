"""The action stream; see `vidact.models.covar.action_dit`."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidact.robot import attention
from vidact.robot.config import Sizes
from vidact.robot.dit_block import DiTBlock, TimedStream
from vidact.robot.layers import MLP
from vidact.robot.unet1d import UNet1d


class ActionDiT(TimedStream):
    """Action tokens, led by one token for the initial joint state."""

    def __init__(self, sizes: Sizes):
        width = sizes.action_width
        super().__init__(width)
        self.head_dim = width // sizes.action_heads
        self.action_encoder = MLP(sizes.action_dim, width, width)
        self.state_encoder = MLP(sizes.state_dim, width, width)
        self.y_proj = MLP(sizes.text_width, width, width)
        args = (width, sizes.action_heads, sizes.mlp_ratio)
        self.blocks = nn.ModuleList(DiTBlock(*args, axis="time") for _ in range(sizes.depth))
        self.decoder = UNet1d(width, sizes.action_dim, width, sizes.decoder_channels)

    def embed(
        self, actions: Float[Tensor, "b n a"], state: Float[Tensor, "b s"]
    ) -> Float[Tensor, "b m 1 c"]:
        """Tokens [B, 1 + Ta, 1, C]: the state, then the (noisy) actions."""
        tokens = [self.state_encoder(state)[:, None], self.action_encoder(actions)]
        return torch.cat(tokens, dim=1)[:, :, None]

    def rotation(self, count: int, device: torch.device) -> attention.Rotation:
        """RoPE at the state's position 0 and the actions' 1..Ta."""
        at = torch.arange(count + 1, dtype=torch.float32, device=device)
        return attention.rotation(at, attention.frequencies(self.head_dim).to(device))

    def decode(
        self, x: Float[Tensor, "b m 1 c"], embedded: Float[Tensor, "b m c"]
    ) -> Float[Tensor, "b n a"]:
        """Velocity of the actions; the UNet sees the action tokens, FiLM their time."""
        return self.decoder(x[:, 1:, 0], embedded[:, 1:])
