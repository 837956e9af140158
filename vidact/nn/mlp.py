"""The transformer's two-layer perceptron."""

import jax
from flax import nnx
from jax import numpy as jnp
from jaxtyping import Array, Float

from vidact.nn.linear import Linear
from vidact.nn.placement import place


class MLP(nnx.Module):
    """fc2(gelu_tanh(fc1(x))) (specs/opensora.md 1.6)."""

    def __init__(
        self, width: int, hidden: int, out: int, *, rngs: nnx.Rngs, zero=False, dtype=jnp.float32
    ):
        xavier = nnx.initializers.xavier_uniform()
        second = nnx.initializers.zeros if zero else xavier
        self.fc1 = Linear(width, hidden, rngs=rngs, dtype=dtype)
        self.fc2 = Linear(hidden, out, kernel_init=second, rngs=rngs, dtype=dtype)

    def __call__(self, x: Float[Array, "*b c"]) -> Float[Array, "*b o"]:
        return self.fc2(jax.nn.gelu(place(self.fc1(x), "hidden"), approximate=True))
