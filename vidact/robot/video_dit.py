"""The video stream, under STDiT3's names; see `vidact.models.covar.video_dit`."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from vidact.robot import attention
from vidact.robot.config import Sizes
from vidact.robot.dit_block import DiTBlock, TimedStream
from vidact.robot.layers import MLP, modulate, position_2d

LATENT_PIXELS = 8  # pixels per latent side, for the position scale


class PatchEmbedder(nn.Module):
    """Patches of a frame to tokens, a convolution whose stride is its size."""

    def __init__(self, channels: int, patch: int, width: int):
        super().__init__()
        size = (1, patch, patch)
        self.proj = nn.Conv3d(channels, width, size, size)


class TextProjection(nn.Module):
    """STDiT3's `y_embedder`: the projection of text and the null text of guidance."""

    y_embedding: Tensor

    def __init__(self, max_words: int, text_width: int, width: int):
        super().__init__()
        self.y_proj = MLP(text_width, width, width)
        self.register_buffer("y_embedding", torch.zeros(max_words, text_width))


class RotaryTable(nn.Module):
    """The frequencies, which STDiT3 stores with its weights."""

    freqs: Tensor

    def __init__(self, head_dim: int):
        super().__init__()
        self.register_buffer("freqs", attention.frequencies(head_dim))


class FinalLayer(nn.Module):
    """Modulated norm and projection."""

    def __init__(self, width: int, out: int):
        super().__init__()
        self.scale_shift_table = nn.Parameter(torch.zeros(2, width))
        self.linear = nn.Linear(width, out)

    def forward(
        self, x: Float[Tensor, "b t s c"], embedded: Float[Tensor, "b t c"]
    ) -> Float[Tensor, "b t s o"]:
        shift, scale = (self.scale_shift_table + embedded[:, :, None])[:, :, :, None].unbind(2)
        return self.linear(modulate(x, shift, scale))


class VideoDiT(TimedStream):
    """Patch embedding, the blocks and the velocity head of the video stream."""

    def __init__(self, sizes: Sizes):
        width, p, c = sizes.video_width, sizes.patch, sizes.latent_channels
        super().__init__(width)
        self.patch, self.width = p, width
        self.x_embedder = PatchEmbedder(c, p, width)
        self.y_embedder = TextProjection(sizes.max_words, sizes.text_width, width)
        self.rope = RotaryTable(width // sizes.video_heads)
        args, depth = (width, sizes.video_heads, sizes.mlp_ratio), range(sizes.depth)
        self.spatial_blocks = nn.ModuleList(DiTBlock(*args, axis="space") for _ in depth)
        self.temporal_blocks = nn.ModuleList(DiTBlock(*args, axis="time") for _ in depth)
        self.final_layer = FinalLayer(width, p * p * c * (2 if sizes.learn_sigma else 1))

    def embed(self, latents: Float[Tensor, "b t h w c"]) -> Float[Tensor, "b t s e"]:
        """Patches to tokens with 2-D positions."""
        h, w = latents.shape[2:4]
        p = self.patch
        x = functional.pad(latents.permute(0, 4, 1, 2, 3), (0, -w % p, 0, -h % p))
        x = self.x_embedder.proj(x)
        scale = (h * w * LATENT_PIXELS**2) ** 0.5 / 512
        position = position_2d(x.shape[3], x.shape[4], self.width, scale)
        x = x.flatten(3).permute(0, 2, 3, 1) + torch.from_numpy(position).to(x.device)
        return x.contiguous()  # a sum keeps its operand's strides, so would every block's

    def rotation(self, frames: int) -> attention.Rotation:
        """RoPE of the temporal blocks at latent frames 0..T-1."""
        freqs = self.rope.freqs
        at = torch.arange(frames, dtype=torch.float32, device=freqs.device)
        return attention.rotation(at, freqs)

    def head(
        self,
        x: Float[Tensor, "b t s e"],
        embedded: Float[Tensor, "b t e"],
        shape: tuple[int, ...],
    ) -> Float[Tensor, "b t h w c"]:
        """Velocity of latents of `shape` [B, T, H, W, C]."""
        b, t, h, w, c = shape
        p = self.patch
        rows, columns = -(-h // p), -(-w // p)
        out = self.final_layer(x, embedded).reshape(b, t, rows, columns, p, p, -1)
        out = out.transpose(3, 4).reshape(b, t, rows * p, columns * p, -1)
        return out[:, :, :h, :w, :c]
