"""Attention with qk-norm and rotary positions, as in `vidact.nn.attention` and `vidact.nn.rope`."""

import torch
from jaxtyping import Bool, Complex64, Float
from torch import Tensor, nn
from torch.nn import functional

from vidact.robot.layers import RMSNorm

THETA = 10000.0
Rotation = Complex64[Tensor, "n pairs"]


def frequencies(head_dim: int) -> Float[Tensor, "pairs"]:
    """10000^(-2i/d), one for each pair of channels."""
    return THETA ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)


def rotation(positions: Float[Tensor, "n"], rates: Float[Tensor, "pairs"]) -> Rotation:
    """cos(position * frequency) + i sin(position * frequency)."""
    angles = positions[:, None] * rates
    return torch.polar(torch.ones_like(angles), angles)


def rotate(x: Float[Tensor, "*b n h d"], table: Rotation) -> Float[Tensor, "*b n h d"]:
    """Turns interleaved pairs, (a, b) -> (a cos - b sin, b cos + a sin), as complex numbers."""
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * table[:, None]).flatten(-2)


def attend(
    q: Float[Tensor, "b n h d"],
    k: Float[Tensor, "b m h d"],
    v: Float[Tensor, "b m h d"],
    key_mask: Bool[Tensor, "b m"] | None = None,
) -> Float[Tensor, "b n h d"]:
    """softmax(q k^T / sqrt(d)) v; key_mask is True where a key may be seen."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    mask = None if key_mask is None else key_mask[:, None, None, :]
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)


class SelfAttention(nn.Module):
    """Multi-head attention with qk-norm and optional RoPE."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm = RMSNorm(width // heads)
        self.k_norm = RMSNorm(width // heads)
        self.proj = nn.Linear(width, width)

    def forward(
        self,
        x: Float[Tensor, "b n c"],
        turn: Rotation | None = None,
        key_mask: Bool[Tensor, "b n"] | None = None,
    ) -> Float[Tensor, "b n c"]:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)
        q, k = self.q_norm(q), self.k_norm(k)
        if turn is not None:
            q, k = rotate(q, turn), rotate(k, turn)
        return self.proj(attend(q, k, v, key_mask).flatten(2))


class CrossAttention(nn.Module):
    """Queries from tokens, keys and values from text; no qk-norm, no RoPE."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q_linear = nn.Linear(width, width)
        self.kv_linear = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)

    def forward(
        self,
        x: Float[Tensor, "b n c"],
        y: Float[Tensor, "b l c"],
        key_mask: Bool[Tensor, "b l"] | None,
    ) -> Float[Tensor, "b n c"]:
        q = self.q_linear(x).unflatten(-1, (self.heads, -1))
        k, v = self.kv_linear(y).unflatten(-1, (2, self.heads, -1)).unbind(2)
        return self.proj(attend(q, k, v, key_mask).flatten(2))
