"""The 1-D UNet that decodes actions; see `vidact.nn.unet1d`."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from vidact.robot.layers import TokenGroupNorm

GROUPS = 8


class Conv1d(nn.Module):
    """Convolution over time with zero padding, as one matmul over shifted copies."""

    def __init__(self, width: int, out: int, size: int):
        super().__init__()
        self.size = size
        self.linear = nn.Linear(size * width, out)

    def forward(self, x: Float[Tensor, "b t c"]) -> Float[Tensor, "b t o"]:
        half, length = self.size // 2, x.shape[1]
        padded = functional.pad(x, (0, 0, half, half))
        shifted = [padded[:, i : i + length] for i in range(self.size)]
        return self.linear(torch.cat(shifted, dim=-1))


class ResidualBlock1d(nn.Module):
    """Two convolutions with FiLM between them."""

    def __init__(self, width: int, out: int, cond: int):
        super().__init__()
        self.conv1 = Conv1d(width, out, 3)
        self.norm1 = TokenGroupNorm(GROUPS, out)
        self.film = nn.Linear(cond, 2 * out)
        self.conv2 = Conv1d(out, out, 3)
        self.norm2 = TokenGroupNorm(GROUPS, out)
        self.skip = nn.Linear(width, out)

    def forward(
        self, x: Float[Tensor, "b t c"], cond: Float[Tensor, "b t e"]
    ) -> Float[Tensor, "b t o"]:
        scale, shift = self.film(functional.silu(cond)).chunk(2, dim=-1)
        h = functional.silu(self.norm1(self.conv1(x))) * (1 + scale) + shift
        return self.skip(x) + functional.silu(self.norm2(self.conv2(h)))


class UNet1d(nn.Module):
    """Down by 2 per level, up again with skip connections; any length (padded, then cropped).

    Args:
      width: channels of the input tokens.
      out: channels of the output.
      cond: width of the FiLM embedding.
      channels: one entry per level, each a multiple of 8.
    """

    def __init__(self, width: int, out: int, cond: int, channels: tuple[int, ...]):
        super().__init__()
        downs = zip((width, *channels[:-1]), channels, strict=True)
        lifts = zip(channels[1:], channels[:-1], strict=True)
        self.down = nn.ModuleList(ResidualBlock1d(a, b, cond) for a, b in downs)
        self.middle = ResidualBlock1d(channels[-1], channels[-1], cond)
        self.up = nn.ModuleList(ResidualBlock1d(2 * c, c, cond) for c in channels)
        self.lift = nn.ModuleList(nn.Linear(a, b) for a, b in lifts)
        self.out = Conv1d(channels[0], out, 3)

    def forward(
        self, x: Float[Tensor, "b t c"], cond: Float[Tensor, "b t e"]
    ) -> Float[Tensor, "b t o"]:
        length, levels = x.shape[1], len(self.down)
        extra = -length % 2 ** (levels - 1)
        x, cond = extend(x, extra), extend(cond, extra)
        skips, conds = [], []
        for level, block in enumerate(self.down):
            if level:
                x, cond = halve(x), halve(cond)
            x = block(x, cond)
            skips.append(x)
            conds.append(cond)
        x = self.middle(x, cond)
        for level in reversed(range(levels)):
            x = self.up[level](torch.cat([x, skips[level]], dim=-1), conds[level])
            if level:
                x = self.lift[level - 1](x).repeat_interleave(2, dim=1)
        return self.out(x)[:, :length]


def extend(x: Float[Tensor, "b t c"], extra: int) -> Float[Tensor, "b u c"]:
    """Repeats the last token `extra` times."""
    return torch.cat([x, x[:, -1:].expand(-1, extra, -1)], dim=1)


def halve(x: Float[Tensor, "b t c"]) -> Float[Tensor, "b half c"]:
    """Means of neighbouring pairs."""
    return x.unflatten(1, (-1, 2)).mean(2)
