"""What turns action tokens into velocities: a UNet (the paper's), or an MLP or a ResNet."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from vidact.models.covar.config import CoVARConfig
from vidact.nn.linear import Linear
from vidact.nn.mlp import MLP
from vidact.nn.norms import layer_norm
from vidact.nn.unet1d import Conv1d, ResidualBlock1d, UNet1d


class MLPDecoder(nnx.Module):
    """Every token by itself: FiLM by its time, then a perceptron."""

    def __init__(self, width: int, out: int, cond: int, channels: tuple[int, ...], **args):
        zeros = nnx.initializers.zeros
        self.film = Linear(cond, 2 * width, kernel_init=zeros, **args)
        self.mlp = MLP(width, channels[-1], out, zero=True, **args)

    def __call__(
        self, x: Float[Array, "b t c"], cond: Float[Array, "b t e"]
    ) -> Float[Array, "b t o"]:
        scale, shift = jnp.split(self.film(jax.nn.silu(cond)), 2, axis=-1)
        return self.mlp(layer_norm(x) * (1 + scale) + shift)


class ResNetDecoder(nnx.Module):
    """The UNet's residual blocks in a line, all at full rate."""

    def __init__(self, width: int, out: int, cond: int, channels: tuple[int, ...], **args):
        ins = (width, *channels[:-1])
        pairs = zip(ins, channels, strict=True)
        self.blocks = nnx.List([ResidualBlock1d(a, b, cond, **args) for a, b in pairs])
        self.out = Conv1d(channels[-1], out, 3, zero=True, **args)

    def __call__(
        self, x: Float[Array, "b t c"], cond: Float[Array, "b t e"]
    ) -> Float[Array, "b t o"]:
        for block in self.blocks:
            x = block(x, cond)
        return self.out(x)


DECODERS = {"unet": UNet1d, "mlp": MLPDecoder, "resnet": ResNetDecoder}


def make(config: CoVARConfig, rngs: nnx.Rngs, width: int | None = None) -> nnx.Module:
    """The decoder of `config.decoder`; its output is zero at start.

    Args:
      config: of the model.
      rngs: for its initialisation.
      width: of the tokens and of their times' embedding; by default the action stream's.
    """
    width = width or config.action_width
    return DECODERS[config.decoder](
        width,
        config.action_dim,
        width,
        config.decoder_channels,
        rngs=rngs,
        dtype=config.compute_dtype,
    )
