"""The splash kernel behind its padding and packing, against plain attention."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.training.meshes import mesh
from vidact.nn import placement, splash
from vidact.nn.attention import attend
from vidact.training import sharding

HEADS, DIM = 2, 24


def made(b: int, n: int, m: int, holes: bool):
    """Queries, keys, values, a mask with holes and padding, and weights of the outputs."""
    rng = np.random.default_rng(n)
    q, k, v, w = (
        jnp.asarray(rng.standard_normal((b, size, HEADS, DIM)), jnp.float32)
        for size in (n, m, m, n)
    )
    mask = rng.uniform(size=(b, m)) < 0.7
    mask[:, 0], mask[-1, m // 2 :] = True, False
    return q, k, v, jnp.asarray(mask) if holes else None, w


def both(function, q, k, v, w):
    """The result and the gradients of its weighted sum."""

    def total(q, k, v):
        out = function(q, k, v)
        return (out * w).sum(), out

    (_, out), grads = jax.jit(jax.value_and_grad(total, (0, 1, 2), has_aux=True))(q, k, v)
    return out, *grads


@pytest.mark.parametrize(
    ("b", "n", "m", "holes"),
    [
        (2, 240, 240, False),
        (2, 200, 300, True),
        (1, 2675, 2675, True),
        (50, 11, 11, False),
        (50, 11, 11, True),
        (9, 35, 35, True),
    ],
)
def test_lengths_of_no_block_give_what_plain_attention_gives(b, n, m, holes):
    q, k, v, mask, w = made(b, n, m, holes)
    assert splash.fits(q, k)
    scale = DIM**-0.5
    found = both(lambda *x: splash.attend(*x, mask, scale, interpret=True), q, k, v, w)
    expected = both(lambda *x: attend(*x, mask), q, k, v, w)
    for name, one, other in zip("oqkv", found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=3e-5, err_msg=name)


@pytest.mark.parametrize(("lead", "n"), [((2,), 240), ((96,), 11), ((2, 4), 140), ((2, 48), 11)])
def test_eight_devices_share_rows_heads_and_sequences_or_queries(lead, n):
    q, k, v, mask, w = made(math.prod(lead), n, n, holes=True)
    q, k, v, w, mask = (x.reshape(*lead, *x.shape[1:]) for x in (q, k, v, w, mask))
    expected = both(lambda *x: attend(*x, mask), q, k, v, w)
    with placement.use(placement.Placement(mesh(2, 1, 2, 2), sharding.ACTIVATIONS)):
        assert splash.fits(q, k)
        found = both(lambda *x: splash.attend(*x, mask, DIM**-0.5, interpret=True), q, k, v, w)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=3e-5)


def test_sequences_that_context_does_not_divide_are_rows():
    q, k, v, mask, _ = made(3, 140, 140, holes=True)
    found = placed(q[None], k[None], v[None], mask[None])
    np.testing.assert_allclose(found[0], attend(q, k, v, mask), atol=3e-5)


def placed(q, k, v, mask):
    """Attention where `context` has two devices, and nothing else has more than one."""
    with placement.use(placement.Placement(mesh(1, 1, 1, 2), sharding.ACTIVATIONS)):
        run = jax.jit(lambda *x: splash.attend(*x, DIM**-0.5, interpret=True))
        return run(q, k, v, mask)


def test_few_short_sequences_are_left_to_xla():
    assert not splash.fits(jnp.zeros((1, 11, 2, 8)), jnp.zeros((1, 11, 2, 8)))
    assert not splash.fits(jnp.zeros((64, 11, 2, 8)), jnp.zeros((64, 300, 2, 8)))


def test_the_kernel_runs_where_each_device_has_its_own_rows_already():
    q, k, v, _, _ = made(8, 140, 140, holes=False)

    def rows(x):
        return splash.attend(*jnp.split(x, 3, axis=-1), None, DIM**-0.5, interpret=True)

    with placement.use(placement.Placement(mesh(2, 4), sharding.ACTIVATIONS)):
        inside = jax.jit(lambda x: placement.by_rows(rows, x))
        found = inside(jnp.concatenate([q, k, v], axis=-1))
    np.testing.assert_allclose(found, attend(q, k, v), atol=3e-5)
