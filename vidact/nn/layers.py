"""Stacks of equal layers, made with vmap and run with scan; arrays that never train."""

from collections.abc import Callable

import jax
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

CARRY = "carry"
# What `remat` keeps, but for "none"; see `scan`.
REMAT = {
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "full": jax.checkpoint_policies.nothing_saveable,
    "offload": jax.checkpoint_policies.save_and_offload_only_these_names(
        names_which_can_be_saved=(),
        names_which_can_be_offloaded=(CARRY,),
        offload_src="device",
        offload_dst="pinned_host",
    ),
}


class Buffer(nnx.Variable):
    """An array that is stored with the weights but is never trained, as PyTorch's buffers are."""


def stack(depth: int, make: Callable[[nnx.Rngs], nnx.Module], rngs: nnx.Rngs) -> nnx.Module:
    """`depth` layers in one module whose parameters gained a leading axis.

    Args:
      depth: number of layers.
      make: builds one layer from its own random streams.
      rngs: split once per layer.
    """

    @nnx.split_rngs(splits=depth)
    @nnx.vmap(in_axes=(0,), out_axes=0)
    def build(rngs: nnx.Rngs) -> nnx.Module:
        return make(rngs)

    return build(rngs)


def layer(stacked: nnx.Module, number: int) -> nnx.Module:
    """One layer of a stack."""
    graphdef, state = nnx.split(stacked)
    return nnx.merge(graphdef, jax.tree.map(lambda array: array[number], state))


def grouped(stacked: nnx.Module, size: int) -> nnx.Module:
    """A stack of depth / size groups of `size` layers, for a scan within a scan."""
    graphdef, state = nnx.split(stacked)
    shaped = jax.tree.map(lambda x: x.reshape(-1, size, *x.shape[1:]), state)
    return nnx.merge(graphdef, shaped)


def scan(
    body: Callable, carry, layers, *, remat: str = "none", unroll: int = 1, collect: bool = False
):
    """Runs `carry = body(carry, layer)` over stacked layers.

    Args:
      body: one layer's function.
      carry: any tree of arrays.
      layers: a stacked module, or a tuple of them, whose arrays have the layer as first axis.
      remat: what of a layer is kept for its gradient: "none" computes nothing again, "dots" keeps
        the products with weights, "full" only the carry, "offload" that in the host's memory.
      unroll: layers per loop iteration.
      collect: `body` returns (carry, more), and the result is (carry, more of all layers, stacked).
    """
    graphdef, state = nnx.split(layers)

    def step(carry, layer_state):
        carry = checkpoint_name(carry, CARRY)
        result = body(carry, nnx.merge(graphdef, layer_state))
        return result if collect else (result, None)

    if remat not in ("none", *REMAT):
        raise ValueError(f"remat={remat!r}: choose none, {', '.join(REMAT)}")
    if remat != "none":
        step = jax.checkpoint(step, prevent_cse=False, policy=REMAT[remat])
    carry, more = jax.lax.scan(step, carry, state, unroll=unroll)
    return (carry, more) if collect else carry
