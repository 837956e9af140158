"""Open-Sora 1.2's temporal autoencoder: four frames of image latents to one (opensora.md 3.2).

Convolutions look back only, yet GroupNorm averages over a whole clip: a clip's result depends on
its length, so clips must be cut as in training (`opensora_vae`).
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from vidact.nn.conv import CausalConv3d
from vidact.nn.group_norm import GroupNorm

EPS = 1e-5


@dataclasses.dataclass(frozen=True)
class TemporalConfig:
    """Sizes; the defaults are Open-Sora 1.2's.

    Attributes:
      filters: channels of the finest level.
      res_blocks: residual blocks per level, and in the middle.
      multipliers: channels of each level as multiples of `filters`.
      halvings: whether time is halved after each level but the last.
      groups: of every GroupNorm.
      channels: of the image latents, and of the latents here.
    """

    filters: int = 128
    res_blocks: int = 4
    multipliers: tuple[int, ...] = (1, 2, 2, 4)
    halvings: tuple[bool, ...] = (False, True, True)
    groups: int = 32
    channels: int = 4

    @property
    def factor(self) -> int:
        """Frames per latent."""
        return 2 ** sum(self.halvings)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        return tuple(self.filters * m for m in self.multipliers)


class Identity(nnx.Module):
    """Holds the place of a level that keeps its length."""

    def __call__(self, x: Float[Array, "b t h w c"]) -> Float[Array, "b t h w c"]:
        return x


class ResBlock(nnx.Module):
    """Two causal convolutions behind GroupNorm and SiLU; 1 x 1 x 1 where the channels change."""

    def __init__(self, width: int, out: int, groups: int, **args):
        self.norm1 = GroupNorm(groups, width, EPS)
        self.conv1 = CausalConv3d(width, out, 3, bias=False, **args)
        self.norm2 = GroupNorm(groups, out, EPS)
        self.conv2 = CausalConv3d(out, out, 3, bias=False, **args)
        self.conv3 = CausalConv3d(width, out, 1, bias=False, **args) if width != out else None

    def __call__(self, x: Float[Array, "b t h w i"]) -> Float[Array, "b t h w o"]:
        y = self.conv1(jax.nn.silu(self.norm1(x)))
        y = self.conv2(jax.nn.silu(self.norm2(y)))
        return y + (x if self.conv3 is None else self.conv3(x))


def res_blocks(width: int, out: int, config: TemporalConfig, **args) -> nnx.List:
    """One level's blocks; the first changes the channels."""
    widths = (width, *[out] * (config.res_blocks - 1))
    return nnx.List(ResBlock(w, out, config.groups, **args) for w in widths)


class Encoder(nnx.Module):
    """Image latents to moments."""

    def __init__(self, config: TemporalConfig, **args):
        widths = config.widths
        ins = (widths[0], *widths[:-1])
        self.conv_in = CausalConv3d(config.channels, widths[0], 3, bias=False, **args)
        self.block_res_blocks = nnx.List(
            res_blocks(i, o, config, **args) for i, o in zip(ins, widths)
        )
        self.conv_blocks = nnx.List(
            CausalConv3d(w, w, 3, stride=2, **args) if halve else Identity()
            for w, halve in zip(widths, config.halvings)
        )
        self.res_blocks = res_blocks(widths[-1], widths[-1], config, **args)
        self.norm1 = GroupNorm(config.groups, widths[-1], EPS)
        self.conv2 = CausalConv3d(widths[-1], 2 * config.channels, 1, **args)

    def __call__(self, x: Float[Array, "b t h w c"]) -> Float[Array, "b s h w m"]:
        x = self.conv_in(x)
        for level, blocks in enumerate(self.block_res_blocks):
            for block in blocks:
                x = block(x)
            if level < len(self.conv_blocks):
                x = self.conv_blocks[level](x)
        for block in self.res_blocks:
            x = block(x)
        return self.conv2(jax.nn.silu(self.norm1(x)))


class Doubling(CausalConv3d):
    """Twice the channels, then every second one becomes a frame of its own."""

    def __init__(self, width: int, **args):
        super().__init__(width, 2 * width, 3, **args)

    def __call__(self, x: Float[Array, "b t h w c"]) -> Float[Array, "b u h w c"]:
        y = super().__call__(x)
        b, t, h, w, c = y.shape
        y = y.reshape(b, t, h, w, c // 2, 2)  # (C, 2), time fastest
        return jnp.moveaxis(y, -1, 2).reshape(b, 2 * t, h, w, c // 2)


class Decoder(nnx.Module):
    """Latents to image latents."""

    def __init__(self, config: TemporalConfig, **args):
        widths = config.widths
        ins = (*widths[1:], widths[-1])
        self.conv1 = CausalConv3d(config.channels, widths[-1], 3, **args)
        self.res_blocks = res_blocks(widths[-1], widths[-1], config, **args)
        self.block_res_blocks = nnx.List(
            res_blocks(i, o, config, **args) for i, o in zip(ins, widths)
        )
        # Entry i - 1 follows level i, as levels are passed from the coarsest to the finest.
        self.conv_blocks = nnx.List(
            Doubling(w, **args) if double else Identity()
            for w, double in zip(widths[1:], config.halvings)
        )
        self.norm1 = GroupNorm(config.groups, widths[0], EPS)
        self.conv_out = CausalConv3d(widths[0], config.channels, 3, **args)

    def __call__(self, z: Float[Array, "b s h w c"]) -> Float[Array, "b t h w c"]:
        x = self.conv1(z)
        for block in self.res_blocks:
            x = block(x)
        for level in reversed(range(len(self.block_res_blocks))):
            for block in self.block_res_blocks[level]:
                x = block(x)
            if level:
                x = self.conv_blocks[level - 1](x)
        return self.conv_out(jax.nn.silu(self.norm1(x)))


class TemporalVAE(nnx.Module):
    """Both halves. Lengths are made whole with zeros in front, which decoding drops again."""

    def __init__(self, config: TemporalConfig, *, rngs: nnx.Rngs, dtype=jnp.float32):
        args = dict(rngs=rngs, dtype=dtype)
        self.encoder = Encoder(config, **args)
        self.quant_conv = CausalConv3d(2 * config.channels, 2 * config.channels, 1, **args)
        self.post_quant_conv = CausalConv3d(config.channels, config.channels, 1, **args)
        self.decoder = Decoder(config, **args)
        self.factor = config.factor

    def moments(self, x: Float[Array, "b t h w c"]) -> Float[Array, "b s h w m"]:
        """Mean and log-variance, side by side, of ceil(t / 4) latents; float32."""
        front = -x.shape[1] % self.factor
        x = jnp.pad(x, ((0, 0), (front, 0), (0, 0), (0, 0), (0, 0)))
        return self.quant_conv(self.encoder(x)).astype(jnp.float32)

    def decode(self, z: Float[Array, "b s h w c"], frames: int) -> Float[Array, "b t h w c"]:
        """The last `frames` image latents of 4 s; float32."""
        x = self.decoder(self.post_quant_conv(z))
        return x[:, -frames % self.factor :].astype(jnp.float32)
