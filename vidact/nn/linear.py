"""The affine layer."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from vidact.nn import placement


class Linear(nnx.Module):
    """x W + b over the last axis; W is [in, out], parameters float32, b optional.

    The leading axes are merged before the product: with several of them XLA's CPU backend computes
    the gradient of W as a product that contracts over each axis in turn, at half the speed, which
    doubled the time of a training step. Where `context` splits the second, the rest are merged with
    that. Never are there three: XLA (jaxlib 0.10.2) computes a product wrongly that contracts over
    an axis which is split in both operands and two more, of which each operand has split another.

    `vidact.nn.lora.add` gives a layer factors A [in, r] and B [r, out]; it then adds (x A) B scale.
    """

    def __init__(
        self,
        width: int,
        out: int,
        *,
        rngs: nnx.Rngs,
        kernel_init=nnx.initializers.xavier_uniform(),
        bias: bool = True,
        dtype=jnp.float32,
    ):
        self.kernel = nnx.Param(kernel_init(rngs.params(), (width, out), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((out,), jnp.float32)) if bias else None
        self.lora_a: nnx.Param | None = None
        self.lora_b: nnx.Param | None = None
        self.lora_scale = 0.0
        self.dtype = dtype

    def __call__(self, x: Float[Array, "*b i"]) -> Float[Array, "*b o"]:
        lead = (-1,) if placement.parts("context") == 1 or x.ndim < 3 else (x.shape[0], -1)
        flat = x.astype(self.dtype).reshape(*lead, x.shape[-1])
        y = flat @ self.kernel[...].astype(self.dtype)
        if self.lora_a is not None and self.lora_b is not None:
            low = flat @ self.lora_a[...].astype(self.dtype) * self.lora_scale
            y = y + low @ self.lora_b[...].astype(self.dtype)
        if self.bias is not None:
            y = y + self.bias[...].astype(self.dtype)
        return y.reshape(*x.shape[:-1], -1)
