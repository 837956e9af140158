"""What both streams are made of: time modulation and the DiT block, as in `vidact.nn.dit_block`."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vidact.robot.attention import CrossAttention, Rotation, SelfAttention
from vidact.robot.layers import MLP, ScalarEmbedder, modulate

TIME_SCALE = 1000.0


class TimedStream(nn.Module):
    """A stream's embedders of time, under the names that STDiT3 gives them."""

    def __init__(self, width: int):
        super().__init__()
        self.t_embedder = ScalarEmbedder(width)
        self.fps_embedder = ScalarEmbedder(width)
        self.t_block = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def time(
        self, t: Float[Tensor, "b n"], fps: Float[Tensor, "b"]
    ) -> tuple[Float[Tensor, "b n c"], Float[Tensor, "b n 6 c"]]:
        """Embedding [B, N, C] and modulation [B, N, 6, C] of t in [0, 1]."""
        embedded = self.t_embedder(t * TIME_SCALE) + self.fps_embedder(fps)[:, None]
        return embedded, self.t_block(embedded).unflatten(-1, (6, -1))


class DiTBlock(nn.Module):
    """Self-attention, text cross-attention and MLP, modulated by time.

    Tokens are [B, T, S, C]; `axis` is what attends to what: "space" (S) or "time" (T).
    """

    def __init__(self, width: int, heads: int, mlp_ratio: float, axis: str):
        super().__init__()
        self.axis = axis
        self.scale_shift_table = nn.Parameter(torch.zeros(6, width))
        self.attn = SelfAttention(width, heads)
        self.cross_attn = CrossAttention(width, heads)
        self.mlp = MLP(width, int(width * mlp_ratio), width)

    def forward(
        self,
        x: Float[Tensor, "b t s c"],
        t6: Float[Tensor, "b t 6 c"],
        text: Float[Tensor, "b l c"],
        text_mask: Bool[Tensor, "b l"] | None,
        turn: Rotation | None = None,
        frame_mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b t s c"]:
        """Applies the block.

        Args:
          x: tokens.
          t6: per frame, shift, scale and gate of the attention, then of the MLP.
          text: projected text.
          text_mask: True = a real word.
          turn: RoPE table for attention over time.
          frame_mask: False = padding, never a key of attention over time.
        """
        table = (self.scale_shift_table + t6)[:, :, :, None]
        shift1, scale1, gate1, shift2, scale2, gate2 = table.unbind(2)
        h = self._self_attention(modulate(x, shift1, scale1), turn, frame_mask)
        x = torch.addcmul(x, gate1, h)
        x = x + self.cross_attn(x.flatten(1, 2), text, text_mask).reshape(x.shape)
        return torch.addcmul(x, gate2, self.mlp(modulate(x, shift2, scale2)))

    def _self_attention(self, x, turn, frame_mask):
        b, t, s, _ = x.shape
        if self.axis == "space":
            return self.attn(x.flatten(0, 1)).unflatten(0, (b, t))
        mask = None if frame_mask is None else frame_mask.repeat_interleave(s, dim=0)
        h = self.attn(x.transpose(1, 2).flatten(0, 1), turn, mask)
        return h.unflatten(0, (b, s)).transpose(1, 2)
