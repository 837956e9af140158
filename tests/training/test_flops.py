"""FLOPs counted from a jaxpr against formulas and against the unrolled program's own operations."""

import math
import re

import jax
import jax.numpy as jnp
import pytest

from configs import covar
from vidact.training import example, flops, program, sharding


def test_products_in_loops_count_as_often_as_they_run():
    def step(x, w):
        return jax.lax.scan(lambda c, k: (jnp.tanh(c @ k), None), x, w)[0]

    x, w = jnp.zeros((3, 5)), jnp.zeros((7, 5, 5))
    assert flops.count(step, x, w) == 7 * 2 * 3 * 5 * 5
    # Each product has two for its gradients.
    assert flops.count(jax.grad(lambda x, w: step(x, w).sum(), (0, 1)), x, w) == 3 * 7 * 150


def test_remat_computes_again_what_its_gradient_needs():
    def total(x, w):
        layer = jax.checkpoint(lambda c, k: jnp.tanh(jnp.tanh(c @ k) @ k))
        return layer(x, w).sum()

    # tanh's gradient asks for the last product again, as it does for the first.
    both = jax.value_and_grad(total, (0, 1))
    assert flops.count(both, jnp.zeros((3, 5)), jnp.zeros((5, 5))) == 8 * 150


def test_convolutions_and_branches():
    x, kernel = jnp.zeros((2, 8, 8, 3)), jnp.zeros((3, 3, 3, 16))

    def convolve(x):
        numbers = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (2, 2), "SAME", dimension_numbers=numbers)

    assert flops.count(convolve, x) == 2 * (2 * 4 * 4 * 16) * (3 * 3 * 3)

    def either(x):
        return jax.lax.cond(x[0, 0, 0, 0] > 0, lambda x: convolve(x).sum(), jnp.sum, x)

    assert flops.count(either, x) == flops.count(convolve, x)


def test_a_loop_of_unknown_length_is_refused():
    def loop(x):
        return jax.lax.while_loop(lambda c: c.sum() < 1, lambda c: c @ c, x)

    with pytest.raises(ValueError, match="how often it runs is not known"):
        flops.count(loop, jnp.zeros((3, 3)))


def test_what_nobody_reads_is_not_counted():
    assert flops.count(lambda x: (x @ x, x + 1)[1], jnp.zeros((4, 4))) == 0


def unrolled(config) -> int:
    """FLOPs of the dot_generals in the lowered program, with its layers written out one by one."""
    config.model.unroll = config.model.depth
    mesh = sharding.one_device()
    built = program.build(config, mesh)
    arguments = built.arguments(example.batch(config).as_dict(), example.codec(config))
    text = jax.jit(sharding.traced_for(mesh, built.step)).lower(*arguments).as_text()
    assert "stablehlo.convolution" not in text
    called, bodies = _functions(text)
    total = sum(times * _products(bodies[name]) for name, times in called.items())
    assert total
    return total


def _functions(text: str) -> tuple[dict[str, int], dict[str, str]]:
    """How often each function of a module runs, and its lines."""
    parts = re.split(r"^  func\.func (?:public|private) @", text, flags=re.M)[1:]
    bodies = {part[: part.index("(")]: part for part in parts}
    called = {"main": 1}
    for name in bodies:  # a function stands behind those that call it
        for inner in re.findall(r"call @([\w.]+)\(", bodies[name]):
            called[inner] = called.get(inner, 0) + called.get(name, 0)
    return called, bodies


def _products(body: str) -> int:
    total = 0
    pattern = (
        r"dot_general .*?contracting_dims = \[([\d, ]*)\] x "
        r".*?: \(tensor<([\dx]*)x\w+>, .*?-> tensor<([\dx]*)x?\w+>"
    )
    for axes, left, out in re.findall(pattern, body):
        sides = [int(side) for side in left.split("x")]
        contracted = math.prod(sides[int(axis)] for axis in axes.split(",") if axis.strip())
        total += 2 * contracted * math.prod(int(side) for side in out.split("x") if side)
    return total


@pytest.mark.parametrize("remat", ["none", "full"])
def test_a_step_counts_what_its_unrolled_program_does(remat):
    config = covar.get_config("tiny")
    config.model.remat, config.model.depth, config.train.batch_size = remat, 3, 2
    counted = flops.training_step(config)
    assert (counted.hardware if remat == "full" else counted.model) == pytest.approx(
        unrolled(config), rel=1e-3
    )
    assert counted.hardware / counted.model == pytest.approx(4 / 3 if remat == "full" else 1, 0.05)


@pytest.mark.slow
def test_the_paper_s_trunk_takes_six_flops_per_parameter_and_token():
    config = covar.get_config("1b4")
    config.train.update(batch_size=1, freeze=())
    tokens, blocks = 11 * 240, 1.19e9  # STDiT3's blocks; projections of the text see 300 tokens
    model = flops.training_step(config).model
    assert 6 * tokens * blocks * 0.9 < model < 6 * tokens * 1.456e9 * 1.1
