"""The image autoencoder of Stable Diffusion, SDXL and PixArt: 8 x 8 pixels to one latent.

Attributes bear the names of the usual checkpoints (AutoencoderKL), so `vidact.interop.vae_keys`
has nothing to rename.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from vidact.nn.attention import attend
from vidact.nn.conv import Conv
from vidact.nn.group_norm import GroupNorm
from vidact.nn.linear import Linear

EPS = 1e-6
BOTH = ((1, 1), (1, 1))
# The strided convolution pads below and to the right only (specs/opensora.md 3.1).
AFTER = ((0, 1), (0, 1))


@dataclasses.dataclass(frozen=True)
class KLConfig:
    """Sizes; the defaults are SDXL's.

    Attributes:
      channels: per level, finest first; n levels make a latent of 2^(n-1) pixels a side.
      layers: residual blocks per level of the encoder; the decoder has one more.
      groups: of every GroupNorm.
      latent_channels: of a latent; the encoder gives twice as many, mean and log-variance.
      pixel_channels: of an image.
      quant_convs: whether 1 x 1 convolutions stand on both sides of the latents.
    """

    channels: tuple[int, ...] = (128, 256, 512, 512)
    layers: int = 2
    groups: int = 32
    latent_channels: int = 4
    pixel_channels: int = 3
    quant_convs: bool = True

    @property
    def factor(self) -> int:
        """Pixels per latent along each side."""
        return 2 ** (len(self.channels) - 1)


class ResnetBlock(nnx.Module):
    """Two 3 x 3 convolutions behind GroupNorm and SiLU; 1 x 1 where the channels change."""

    def __init__(self, width: int, out: int, groups: int, **args):
        self.norm1 = GroupNorm(groups, width, EPS)
        self.conv1 = Conv(width, out, (3, 3), **args)
        self.norm2 = GroupNorm(groups, out, EPS)
        self.conv2 = Conv(out, out, (3, 3), **args)
        self.conv_shortcut = Conv(width, out, (1, 1), **args) if width != out else None

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h w o"]:
        y = self.conv1(jax.nn.silu(self.norm1(x)))
        y = self.conv2(jax.nn.silu(self.norm2(y)))
        return y + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class Attention(nnx.Module):
    """Self-attention of all positions with one head."""

    def __init__(self, width: int, groups: int, **args):
        self.group_norm = GroupNorm(groups, width, EPS)
        self.to_q = Linear(width, width, **args)
        self.to_k = Linear(width, width, **args)
        self.to_v = Linear(width, width, **args)
        self.to_out = nnx.List([Linear(width, width, **args)])

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        tokens = self.group_norm(x).reshape(x.shape[0], -1, 1, x.shape[-1])
        y = attend(self.to_q(tokens), self.to_k(tokens), self.to_v(tokens))
        return x + self.to_out[0](y).reshape(x.shape)


class MidBlock(nnx.Module):
    """Attention between two residual blocks."""

    def __init__(self, width: int, groups: int, **args):
        self.resnets = nnx.List([ResnetBlock(width, width, groups, **args) for _ in range(2)])
        self.attentions = nnx.List([Attention(width, groups, **args)])

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class Sampler(nnx.Module):
    """A convolution that halves height and width, or one behind their doubling."""

    def __init__(self, width: int, *, up: bool, **args):
        pads, stride = (BOTH, (1, 1)) if up else (AFTER, (2, 2))
        self.conv = Conv(width, width, (3, 3), pads=pads, stride=stride, **args)
        self.up = up

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b i j c"]:
        return self.conv(x.repeat(2, axis=1).repeat(2, axis=2) if self.up else x)


class Level(nnx.Module):
    """Residual blocks, then a change of resolution except at the last level."""

    def __init__(
        self, width: int, out: int, layers: int, groups: int, *, up: bool, last: bool, **args
    ):
        widths = (width, *[out] * (layers - 1))
        self.resnets = nnx.List([ResnetBlock(w, out, groups, **args) for w in widths])
        samplers = [] if last else [Sampler(out, up=up, **args)]
        self.downsamplers = nnx.List([] if up else samplers)
        self.upsamplers = nnx.List(samplers if up else [])

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b i j o"]:
        for layer in (*self.resnets, *self.downsamplers, *self.upsamplers):
            x = layer(x)
        return x


class Encoder(nnx.Module):
    """Pixels to moments."""

    def __init__(self, config: KLConfig, **args):
        channels, groups, count = config.channels, config.groups, len(config.channels)
        self.conv_in = Conv(config.pixel_channels, channels[0], (3, 3), **args)
        ins = (channels[0], *channels[:-1])
        self.down_blocks = nnx.List(
            Level(i, o, config.layers, groups, up=False, last=n == count - 1, **args)
            for n, (i, o) in enumerate(zip(ins, channels))
        )
        self.mid_block = MidBlock(channels[-1], groups, **args)
        self.conv_norm_out = GroupNorm(groups, channels[-1], EPS)
        self.conv_out = Conv(channels[-1], 2 * config.latent_channels, (3, 3), **args)

    def __call__(self, x: Float[Array, "b h w p"]) -> Float[Array, "b i j m"]:
        x = self.conv_in(x)
        for block in self.down_blocks:
            x = block(x)
        return self.conv_out(jax.nn.silu(self.conv_norm_out(self.mid_block(x))))


class Decoder(nnx.Module):
    """Latents to pixels."""

    def __init__(self, config: KLConfig, **args):
        channels, groups, count = config.channels[::-1], config.groups, len(config.channels)
        self.conv_in = Conv(config.latent_channels, channels[0], (3, 3), **args)
        self.mid_block = MidBlock(channels[0], groups, **args)
        ins = (channels[0], *channels[:-1])
        self.up_blocks = nnx.List(
            Level(i, o, config.layers + 1, groups, up=True, last=n == count - 1, **args)
            for n, (i, o) in enumerate(zip(ins, channels))
        )
        self.conv_norm_out = GroupNorm(groups, channels[-1], EPS)
        self.conv_out = Conv(channels[-1], config.pixel_channels, (3, 3), **args)

    def __call__(self, z: Float[Array, "b i j l"]) -> Float[Array, "b h w p"]:
        x = self.mid_block(self.conv_in(z))
        for block in self.up_blocks:
            x = block(x)
        return self.conv_out(jax.nn.silu(self.conv_norm_out(x)))


class AutoencoderKL(nnx.Module):
    """Both halves, without the factor that diffusion models multiply latents by."""

    def __init__(self, config: KLConfig, *, rngs: nnx.Rngs, dtype=jnp.float32):
        args = dict(rngs=rngs, dtype=dtype)
        latent = config.latent_channels
        self.encoder = Encoder(config, **args)
        self.decoder = Decoder(config, **args)
        both = config.quant_convs
        self.quant_conv = Conv(2 * latent, 2 * latent, (1, 1), **args) if both else None
        self.post_quant_conv = Conv(latent, latent, (1, 1), **args) if both else None

    def moments(self, images: Float[Array, "b h w p"]) -> Float[Array, "b i j m"]:
        """Mean and log-variance, side by side, of the latents of images in [-1, 1].

        Height and width are multiples of `KLConfig.factor`; the result is float32.
        """
        x = self.encoder(images)
        x = x if self.quant_conv is None else self.quant_conv(x)
        return x.astype(jnp.float32)

    def decode(self, latents: Float[Array, "b i j l"]) -> Float[Array, "b h w p"]:
        """Images in [-1, 1], not clipped, float32."""
        z = latents if self.post_quant_conv is None else self.post_quant_conv(latents)
        return self.decoder(z).astype(jnp.float32)
