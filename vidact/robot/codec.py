"""The linear video codec; see `vidact.encoders.video.linear`."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn


class LinearCodec(nn.Module):
    """Principal components of patches, the first frame alone and later ones as change to it.

    Args:
      height, width: of the frames in pixels.
      patch: pixels per patch side; divides both.
      frames: pixel frames per later latent.
      channels: latent channels.
    """

    mean: Tensor
    first_basis: Tensor
    first_scale: Tensor
    later_basis: Tensor
    later_scale: Tensor

    def __init__(self, height: int, width: int, patch: int, frames: int, channels: int):
        super().__init__()
        pixels = patch * patch * 3
        self.patch, self.frames = patch, frames
        self.register_buffer("mean", torch.zeros(height, width, 3))
        self.register_buffer("first_basis", torch.zeros(pixels, channels))
        self.register_buffer("first_scale", torch.ones(channels))
        self.register_buffer("later_basis", torch.zeros(frames * pixels, channels))
        self.register_buffer("later_scale", torch.ones(channels))

    def encode(self, video: UInt8[Tensor, "b t h w 3"]) -> Float[Tensor, "b n i j c"]:
        """Latents of 1 + k * frames pixel frames: [B, 1 + k, H/p, W/p, c]."""
        pixels = video.float() / 127.5 - 1.0 - self.mean
        first = self._patches(pixels[:, :1], 1) @ self.first_basis / self.first_scale
        if video.shape[1] == 1:
            return first
        change = self._patches(pixels[:, 1:] - pixels[:, :1], self.frames)
        return torch.cat([first, change @ self.later_basis / self.later_scale], dim=1)

    def decode(self, latents: Float[Tensor, "b n i j c"]) -> Float[Tensor, "b t h w 3"]:
        """Pixels in [-1, 1] (not clipped), 1 + (n - 1) * frames of them."""
        first = self._pixels(latents[:, :1] * self.first_scale @ self.first_basis.T, 1)
        if latents.shape[1] > 1:
            coefficients = latents[:, 1:] * self.later_scale
            change = self._pixels(coefficients @ self.later_basis.T, self.frames)
            first = torch.cat([first, first + change], dim=1)
        return first + self.mean

    def _patches(self, x: Tensor, frames: int) -> Tensor:
        """[B, k*f, H, W, 3] -> [B, k, H/p, W/p, f*p*p*3]."""
        b, t, h, w, _ = x.shape
        p = self.patch
        x = x.reshape(b, t // frames, frames, h // p, p, w // p, p, 3)
        return x.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4)

    def _pixels(self, x: Tensor, frames: int) -> Tensor:
        """The inverse of `_patches`."""
        b, n, i, j, _ = x.shape
        p = self.patch
        x = x.reshape(b, n, i, j, frames, p, p, 3).permute(0, 1, 4, 2, 5, 3, 6, 7)
        return x.reshape(b, n * frames, i * p, j * p, 3)
