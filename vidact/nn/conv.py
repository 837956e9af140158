"""Convolutions over any number of axes, channels last, with every padding spelled out."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

Pads = Sequence[tuple[int, int]]
_AXES = ("W", "HW", "DHW")


class Conv(nnx.Module):
    """A convolution over the axes between batch and channels; parameters float32.

    The kernel is [*size, in, out], the bias [out]. The size's length counts the axes, 1 to 3.

    Args:
      width: channels in.
      out: channels out.
      size: the kernel's extent along each axis.
      pads: zeros put before and after each axis; by default half the kernel on both sides, which
        keeps lengths at odd sizes and stride 1.
      stride: step along each axis; by default 1.
      bias: whether there is one.
      rngs: for the kernel's initialisation.
      dtype: of the computation.
    """

    def __init__(
        self,
        width: int,
        out: int,
        size: Sequence[int],
        *,
        rngs: nnx.Rngs,
        pads: Pads | None = None,
        stride: Sequence[int] | None = None,
        bias: bool = True,
        dtype=jnp.float32,
    ):
        init = nnx.initializers.lecun_normal()
        self.kernel = nnx.Param(init(rngs.params(), (*size, width, out), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((out,), jnp.float32)) if bias else None
        self.pads = tuple((k // 2, k // 2) for k in size) if pads is None else tuple(pads)
        self.stride = tuple(stride or [1] * len(size))
        self.dtype = dtype

    def __call__(self, x: Float[Array, "b *n i"]) -> Float[Array, "b *m o"]:
        y = convolve(x, self.kernel[...], self.stride, self.pads, self.dtype)
        return y if self.bias is None else y + self.bias[...].astype(self.dtype)


def convolve(
    x: Float[Array, "b *n i"],
    kernel: Float[Array, "*k i o"],
    stride: Sequence[int],
    pads: Pads,
    dtype=jnp.float32,
) -> Float[Array, "b *m o"]:
    """The sum of products alone; arguments as `Conv`'s."""
    axes = _AXES[len(stride) - 1]
    numbers = (f"N{axes}C", f"{axes}IO", f"N{axes}C")
    x, kernel = x.astype(dtype), kernel.astype(dtype)
    return jax.lax.conv_general_dilated(x, kernel, stride, pads, dimension_numbers=numbers)


class CausalConv3d(nnx.Module):
    """A convolution over time, height and width that looks back in time, never ahead.

    All padding of the time axis lies in front: (k - 1) + (1 - stride) frames of zeros, so a length
    that the stride divides is divided exactly (specs/opensora.md 3.2).

    Args:
      width: channels in.
      out: channels out.
      size: the kernel's extent along all three axes.
      stride: step along time.
      bias: whether there is one.
      rngs: for the kernel's initialisation.
      dtype: of the computation.
    """

    def __init__(
        self,
        width: int,
        out: int,
        size: int,
        *,
        rngs: nnx.Rngs,
        stride: int = 1,
        bias: bool = True,
        dtype=jnp.float32,
    ):
        half = size // 2
        self.conv = Conv(
            width,
            out,
            (size,) * 3,
            pads=((size - stride, 0), (half, half), (half, half)),
            stride=(stride, 1, 1),
            bias=bias,
            rngs=rngs,
            dtype=dtype,
        )

    def __call__(self, x: Float[Array, "b t h w i"]) -> Float[Array, "b s h w o"]:
        conv = self.conv
        if x.shape[1] > 1 or conv.stride[0] > 1:
            return conv(x)
        # All but the kernel's last slice would meet zeros; XLA's CPU backend may turn input
        # and kernel around then, which took 80 times as long.
        y = convolve(x[:, 0], conv.kernel[-1], conv.stride[1:], conv.pads[1:], conv.dtype)[:, None]
        return y if conv.bias is None else y + conv.bias[...].astype(conv.dtype)
