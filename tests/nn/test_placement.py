"""Lines and grids of tokens, and what `context` splits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.training.meshes import mesh
from vidact.nn import placement
from vidact.nn.dit_block import DiTBlock
from vidact.nn.linear import Linear
from vidact.training import sharding

WIDTH = 32


@pytest.fixture(params=[1, 2], ids=["whole", "split"])
def context(request):
    """How many devices share a frame's places."""
    with placement.use(placement.Placement(mesh(1, 1, 1, request.param), sharding.ACTIVATIONS)):
        yield request.param


def test_a_line_holds_a_devices_places_in_one_piece(context):
    numbers = jnp.arange(2 * 3 * 4).reshape(2, 3, 4)
    line = placement.line(numbers)
    assert np.array_equal(placement.grid(line, 3), numbers)
    first = np.sort(line[0, : 12 // context])
    assert np.array_equal(first, np.sort(numbers[0, :, : 4 // context].ravel()))


def work(function, *axes: int) -> float:
    """FLOPs of each device, by XLA's own count; three frames of sixteen places."""
    x, where = jnp.ones((4, 3, 16, WIDTH)), mesh(*axes)
    rows = jax.NamedSharding(where, sharding.BATCH)
    placed = sharding.traced_for(where, jax.grad(lambda x: function(x).sum()))
    compiled = jax.jit(placed, in_shardings=rows).lower(x).compile()
    return compiled.cost_analysis()["flops"]


@pytest.mark.parametrize("axis", ["space", "time"])
def test_context_splits_what_a_block_computes(axis):
    block = DiTBlock(WIDTH, 2, 4.0, axis=axis, zero=False, rngs=nnx.Rngs(0))
    modulation, text = jnp.ones((4, 3, 6, WIDTH)), jnp.ones((4, 2, WIDTH))
    one, split, rows = (
        work(lambda x: block(x, modulation, text, None), *axes)
        for axes in ((1, 1), (2, 1, 1, 4), (2, 2))
    )
    assert rows < 0.3 * one  # what four devices do that share the rows alone
    # Eight devices: three frames are filled up to four, and each embeds the text for itself.
    assert split < 0.6 * rows


def test_a_gradient_is_right_where_what_it_sums_over_is_split_two_ways():
    """XLA fails at products over three axes of which two operands split different ones."""
    layer, rng = Linear(6, 5, rngs=nnx.Rngs(0)), np.random.default_rng(0)
    x, w = (jnp.asarray(rng.standard_normal((8, 4, 16, n)), jnp.float32) for n in (6, 5))

    def loss(layer, x):
        y = placement.place(layer(placement.place(x, "sequences")), "tokens")
        return (y * w).sum()

    found = jax.jit(sharding.traced_for(mesh(4, 1, 1, 2), jax.grad(loss)))(layer, x)
    np.testing.assert_allclose(found.kernel[...], jnp.einsum("btsi,btso->io", x, w), atol=1e-4)
