"""The rule table, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from configs import base
from tests.training import meshes
from vidact.errors import UserError
from vidact.nn import placement
from vidact.training import sharding

SHAPES = {
    "video/blocks/mlp/fc1/kernel": jax.ShapeDtypeStruct((3, 16, 64), jnp.float32),
    "video/blocks/mlp/fc2/kernel": jax.ShapeDtypeStruct((3, 64, 16), jnp.float32),
    "video/blocks/mlp/fc2/bias": jax.ShapeDtypeStruct((3, 16), jnp.float32),
}
FC1, FC2, BIAS = SHAPES


def mesh_config(**changes):
    config = base.get_config().mesh
    config.update(changes)
    return config


def test_own_rules_come_before_the_table():
    mesh = meshes.mesh(1, 4, 2)
    found = sharding.parameter_shardings(SHAPES, mesh, (("fc1/kernel$", ("tensor", None)),))
    assert {path: where.spec for path, where in found.items()} == {
        FC1: P(None, "tensor", None),
        FC2: P(None, "tensor", "fsdp"),
        BIAS: P(None, None),
    }
    whole = 3 * 16 / (3 * 16 + 2 * 3 * 16 * 64)
    assert sharding.replicated(SHAPES, found) == pytest.approx(whole)


def test_devices_that_share_a_sample_share_its_parameters_too():
    found = sharding.parameter_shardings(SHAPES, meshes.mesh(1, 2, 2, 2))
    assert {path: where.spec for path, where in found.items()} == {
        FC1: P(None, ("fsdp", "context"), "tensor"),
        FC2: P(None, "tensor", ("fsdp", "context")),
        BIAS: P(None, None),
    }
    own = (("fc1/kernel$", ("fsdp", "context")),)  # one that names it means what it says
    assert sharding.parameter_shardings(SHAPES, found[FC1].mesh, own)[FC1].spec[1:] == own[0][1]


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        ((("nothing$", ()),), r"'nothing\$' matches no parameter"),
        ((("fc1", ()), ("kernel", ())), f"'fc1' and 'kernel' both match {FC1}"),
        ((("fc1/kernel", ("fsdp", "fsdp")),), f"{FC1} .*cannot be split"),
        ((("fc1/kernel", ("row", None)),), f"{FC1} .*cannot be split"),
        ((("bias", ("fsdp",) * 3),), f"{BIAS} .*cannot be split"),
        ((("fc1/kernel",),), r"config\.mesh\.rules: .*write"),
        ((("fc1/kernel(", ()),), r"config\.mesh\.rules: .*write"),
        ((("bias", ("fsdp", None)),), r"config\.mesh\.fsdp=4: does not divide the 3 of"),
    ],
)
def test_rules_that_are_wrong_are_named(rules, named):
    with pytest.raises(UserError, match=named):
        sharding.parameter_shardings(SHAPES, meshes.mesh(1, 4, 2), rules)


def test_a_parameter_without_a_rule_is_named():
    strange = {"video/strange": jax.ShapeDtypeStruct((4,), jnp.float32)}
    with pytest.raises(UserError, match="video/strange: no rule"):
        sharding.parameter_shardings(strange, meshes.mesh(2))


def test_parameters_that_stay_whole_are_named_by_the_largest():
    found = sharding.parameter_shardings(SHAPES, meshes.mesh(1, 4), (("fc1/kernel", ()),))
    with pytest.raises(UserError, match=rf"{FC1}: .* 50\.4% .* above 2%"):
        sharding.replicated(SHAPES, found)
    shared = sharding.parameter_shardings(SHAPES, meshes.mesh(1, 1, 1, 4), (("fc1/kernel$", ()),))
    with pytest.raises(UserError, match=rf"{FC1}: .* fsdp, tensor and context to 1"):
        sharding.replicated(SHAPES, shared)
    alone = sharding.parameter_shardings(SHAPES, meshes.mesh(4))
    assert sharding.replicated(SHAPES, alone) == 1


@pytest.mark.parametrize(
    ("changes", "devices", "slices", "expected"),
    [
        ({}, 8, 1, (8, 1, 1, 1)),
        ({"fsdp": -1}, 1, 1, (1, 1, 1, 1)),
        ({"fsdp": -1}, 256, 1, (16, 16, 1, 1)),
        ({"fsdp": -1}, 32, 2, (2, 16, 1, 1)),
        ({"fsdp": -1, "tensor": 2, "context": 2}, 64, 1, (1, 16, 2, 2)),
        ({"fsdp": 4, "tensor": 2}, 16, 1, (2, 4, 2, 1)),
    ],
)
def test_sides_of_the_mesh(changes, devices, slices, expected):
    assert sharding.sides(mesh_config(**changes), devices, slices) == expected


@pytest.mark.parametrize(
    ("changes", "slices"), [({"fsdp": 3}, 1), ({"data": 1, "fsdp": 8}, 2), ({"tensor": 16}, 1)]
)
def test_sides_that_do_not_multiply_are_named(changes, slices):
    with pytest.raises(UserError, match=r"config\.mesh: .* is not 8 devices"):
        sharding.sides(mesh_config(**changes), 8, slices)


def test_an_activation_that_does_not_divide_is_named():
    x = jnp.zeros((8, 3, 5, 16))
    with placement.use(placement.Placement(meshes.mesh(4, 1, 1, 2), sharding.ACTIVATIONS)):
        with pytest.raises(UserError, match=r"context of 2 does not divide the 5 .*tokens"):
            placement.place(x, "tokens")
        placed = jax.jit(lambda x: placement.place(x, "heads"))(x)
    assert np.array_equal(placed, x)


def test_sums_of_rows_and_columns_lie_as_what_is_left_of_their_parameter():
    shardings = sharding.parameter_shardings(SHAPES, meshes.mesh(1, 4, 2))
    tree = {"rows": {FC1: jnp.zeros((3, 16))}, "columns": {FC1: jnp.zeros((3, 64))}, "n": 0}
    tree["same"] = {FC1: jnp.zeros((3, 16, 64)), BIAS: jnp.zeros((1,))}
    found = sharding.like_parameters(jax.eval_shape(lambda: tree), SHAPES, shardings)
    specs = jax.tree.map(lambda where: where.spec, found)
    assert specs["rows"][FC1] == P(None, "fsdp")
    assert specs["columns"][FC1] == P(None, "tensor")
    assert specs["same"] == {FC1: P(None, "fsdp", "tensor"), BIAS: P()}
    assert specs["n"] == P()
