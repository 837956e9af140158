"""GroupNorm over channels and positions."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


class GroupNorm(nnx.Module):
    """(x - mean) / sqrt(var + eps) * weight + bias, channels last.

    Mean and variance are taken per sample over the channels of a group and all axes between batch
    and channels: of a clip, over its time too. Computed in float32 whatever comes in.

    Args:
      groups: divides `width`; neighbouring channels form a group.
      width: channels.
      eps: added to the variance; networks differ in it (specs/opensora.md 3.1, 3.2).
    """

    def __init__(self, groups: int, width: int, eps: float):
        self.weight = nnx.Param(jnp.ones((width,), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((width,), jnp.float32))
        self.groups, self.eps = groups, eps

    def __call__(self, x: Float[Array, "b *n c"]) -> Float[Array, "b *n c"]:
        y = x.astype(jnp.float32).reshape(x.shape[0], -1, x.shape[-1])
        y = y - self._over_groups(y)
        y = y * jax.lax.rsqrt(self._over_groups(jnp.square(y)) + self.eps)
        return (y * self.weight[...] + self.bias[...]).reshape(x.shape).astype(x.dtype)

    def _over_groups(self, y: Float[Array, "b n c"]) -> Float[Array, "b 1 c"]:
        """Means per group, repeated for its channels; by channel first, which vectorises."""
        means = y.mean(1).reshape(y.shape[0], self.groups, -1).mean(-1, keepdims=True)
        each = y.shape[-1] // self.groups
        return jnp.broadcast_to(means, (*means.shape[:2], each)).reshape(y.shape[0], 1, -1)
