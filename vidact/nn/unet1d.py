"""A 1-D UNet over time, conditioned on a per-token embedding by FiLM."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from vidact.nn.linear import Linear
from vidact.nn.norms import TokenGroupNorm

GROUPS = 8


class Conv1d(nnx.Module):
    """Convolution over time with zero padding, written as one matmul over shifted copies.

    On CPU and TPU the gradient of a small convolution is far slower than that of the matmul.
    """

    def __init__(
        self, width: int, out: int, size: int, *, rngs: nnx.Rngs, zero=False, dtype=jnp.float32
    ):
        init = nnx.initializers.zeros if zero else nnx.initializers.lecun_normal()
        self.size = size
        self.linear = Linear(size * width, out, kernel_init=init, rngs=rngs, dtype=dtype)

    def __call__(self, x: Float[Array, "b t c"]) -> Float[Array, "b t o"]:
        half = self.size // 2
        padded = jnp.pad(x, ((0, 0), (half, half), (0, 0)))
        shifted = [padded[:, i : i + x.shape[1]] for i in range(self.size)]
        return self.linear(jnp.concatenate(shifted, axis=-1))


class ResidualBlock1d(nnx.Module):
    """Two convolutions with FiLM between them, as in Diffusion Policy's UNet (2303.04137)."""

    def __init__(self, width: int, out: int, cond: int, *, rngs: nnx.Rngs, dtype=jnp.float32):
        args = dict(rngs=rngs, dtype=dtype)
        self.conv1 = Conv1d(width, out, 3, **args)
        self.norm1 = TokenGroupNorm(GROUPS, out)
        self.film = Linear(cond, 2 * out, kernel_init=nnx.initializers.zeros, **args)
        self.conv2 = Conv1d(out, out, 3, **args)
        self.norm2 = TokenGroupNorm(GROUPS, out)
        self.skip = Linear(width, out, **args)

    def __call__(
        self, x: Float[Array, "b t c"], cond: Float[Array, "b t e"]
    ) -> Float[Array, "b t o"]:
        scale, shift = jnp.split(self.film(jax.nn.silu(cond)), 2, axis=-1)
        h = jax.nn.silu(self.norm1(self.conv1(x))) * (1 + scale) + shift
        return self.skip(x) + jax.nn.silu(self.norm2(self.conv2(h)))


class UNet1d(nnx.Module):
    """Down by 2 per level, up again with skip connections; any length (padded, then cropped).

    Args:
      width: channels of the input tokens.
      out: channels of the output.
      cond: width of the FiLM embedding.
      channels: one entry per level, each a multiple of 8.
    """

    def __init__(
        self,
        width: int,
        out: int,
        cond: int,
        channels: tuple[int, ...],
        *,
        rngs: nnx.Rngs,
        dtype=jnp.float32,
    ):
        args = dict(rngs=rngs, dtype=dtype)
        ins = (width, *channels[:-1])
        pairs = list(zip(ins, channels, strict=True))
        ups = [(2 * c, c) for c in channels]
        self.down = nnx.List([ResidualBlock1d(a, b, cond, **args) for a, b in pairs])
        self.middle = ResidualBlock1d(channels[-1], channels[-1], cond, **args)
        self.up = nnx.List([ResidualBlock1d(a, b, cond, **args) for a, b in ups])
        lift = list(zip(channels[1:], channels[:-1], strict=True))
        self.lift = nnx.List([Linear(a, b, **args) for a, b in lift])
        self.out = Conv1d(channels[0], out, 3, zero=True, **args)

    def __call__(
        self, x: Float[Array, "b t c"], cond: Float[Array, "b t e"]
    ) -> Float[Array, "b t o"]:
        length, levels = x.shape[1], len(self.down)
        extra = -length % 2 ** (levels - 1)
        x = jnp.pad(x, ((0, 0), (0, extra), (0, 0)), mode="edge")
        conds = [jnp.pad(cond, ((0, 0), (0, extra), (0, 0)), mode="edge")]
        skips = []
        for level, block in enumerate(self.down):
            if level:
                x, cond = halve(x), halve(conds[-1])
                conds.append(cond)
            x = block(x, conds[-1])
            skips.append(x)
        x = self.middle(x, conds[-1])
        for level in reversed(range(levels)):
            x = self.up[level](jnp.concatenate([x, skips[level]], axis=-1), conds[level])
            if level:
                x = jnp.repeat(self.lift[level - 1](x), 2, axis=1)
        return self.out(x)[:, :length]


def halve(x: Float[Array, "b t c"]) -> Float[Array, "b half c"]:
    """Means of neighbouring pairs."""
    return x.reshape(x.shape[0], x.shape[1] // 2, 2, x.shape[2]).mean(2)
