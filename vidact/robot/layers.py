"""Norms, perceptrons and embeddings, as in `vidact.nn`; float32."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

SINUSOID_WIDTH = 256


def layer_norm(x: Float[Tensor, "*b c"], eps: float = 1e-6) -> Float[Tensor, "*b c"]:
    """LayerNorm without affine parameters."""
    return functional.layer_norm(x, x.shape[-1:], eps=eps)


def modulate(
    x: Float[Tensor, "*b c"], shift: Float[Tensor, "*s c"], scale: Float[Tensor, "*s c"]
) -> Float[Tensor, "*b c"]:
    """LN(x) (1 + scale) + shift."""
    return torch.addcmul(shift, layer_norm(x), 1 + scale)


class RMSNorm(nn.Module):
    """w x / sqrt(mean(x^2) + eps) over the last axis."""

    def __init__(self, width: int, eps: float = 1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Float[Tensor, "*b c"]) -> Float[Tensor, "*b c"]:
        return functional.rms_norm(x, x.shape[-1:], self.weight, self.eps)


class TokenGroupNorm(nn.Module):
    """GroupNorm over one token's channels only: a padded action cannot change its neighbours."""

    def __init__(self, groups: int, width: int, eps: float = 1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.groups, self.eps = groups, eps

    def forward(self, x: Float[Tensor, "*b c"]) -> Float[Tensor, "*b c"]:
        y = layer_norm(x.unflatten(-1, (self.groups, -1)), self.eps).flatten(-2)
        return y * self.weight + self.bias


class MLP(nn.Module):
    """fc2(gelu_tanh(fc1(x)))."""

    def __init__(self, width: int, hidden: int, out: int):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, out)

    def forward(self, x: Float[Tensor, "*b c"]) -> Float[Tensor, "*b o"]:
        return self.fc2(functional.gelu(self.fc1(x), approximate="tanh"))


def sinusoid(t: Float[Tensor, "*b"], width: int = SINUSOID_WIDTH) -> Float[Tensor, "*b c"]:
    """[cos(t f_j), sin(t f_j)], f_j = 10000^(-j / (width/2))."""
    half = width // 2
    steps = torch.arange(half, dtype=torch.float32, device=t.device)
    angles = t[..., None] * torch.exp(-math.log(10000.0) * steps / half)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class ScalarEmbedder(nn.Module):
    """Linear, SiLU, Linear over a sinusoid: timesteps and frame rates."""

    def __init__(self, width: int):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(SINUSOID_WIDTH, width), nn.SiLU(), nn.Linear(width, width)
        )

    def forward(self, t: Float[Tensor, "*b"]) -> Float[Tensor, "*b c"]:
        return self.mlp(sinusoid(t))


def position_2d(rows: int, columns: int, width: int, scale: float) -> Float[np.ndarray, "n c"]:
    """Table of 2-D positions, column half first, sine before cosine.

    Args:
      rows: tokens in height.
      columns: tokens in width.
      width: size of the embedding, a multiple of 4.
      scale: sqrt(height * width in pixels) / 512.
    """
    base = round((rows * columns) ** 0.5)
    quarter = np.arange(width // 4, dtype=np.float32)
    frequencies = (1.0 / 10000.0 ** (2 * quarter / (width // 2))).astype(np.float32)

    def embed(count: int) -> np.ndarray:
        grid = np.arange(count, dtype=np.float32) / np.float32(scale) * np.float32(base / count)
        angles = grid[:, None] * frequencies
        return np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)

    by_row = np.repeat(embed(rows), columns, axis=0)
    by_column = np.tile(embed(columns), (rows, 1))
    return np.concatenate([by_column, by_row], axis=-1).astype(np.float32)
