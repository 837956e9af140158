"""Eight devices compute what one does, and every parameter has its place on the mesh."""

import re

import jax
import numpy as np
import pytest

from configs import base, joint_dit, metaworld
from data_pipelines.opening import open_source
from tests import tiny
from tests.training import meshes
from vidact.encoders.encode import encode
from vidact.models import registry
from vidact.nn import flat
from vidact.training import feed, prepare, sharding, step

WEIGHTS = {"video": 1.0, "action": 1.0}


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in registry.FAMILIES if name != "covar"]


@pytest.fixture(scope="module", params=["covar", *SLOW])
def pieces(request, tmp_path_factory):
    data = tiny.write_data(tmp_path_factory.mktemp("devices"))
    # Norms over groups of two channels, as tiny has them, amplify rounding errors beyond bound.
    config = tiny.config(data, model__decoder_channels=(64, 64), model__family=request.param)
    train, _ = prepare.open_data(config, open_source(config.data))
    make = registry.maker(config)
    plan = flat.blueprint(make)
    parameters = jax.device_get(jax.jit(lambda: flat.parameters(make()))())
    rng = np.random.default_rng(0)  # zero-initialised parts would hide a wrong gradient
    noisy = {k: v + rng.normal(0, 0.02, v.shape).astype(v.dtype) for k, v in parameters.items()}
    return plan, noisy, prepare.fit_codec(config.encoder, train), train.batch_at(0)


def gradients(pieces, *axes: int):
    plan, parameters, codec, batch = pieces
    mesh = meshes.mesh(*axes)
    layout = sharding.parameter_shardings(plan.shapes, mesh)

    def compute(parameters, batch):
        key = jax.random.key(0)
        return step.gradients(plan, parameters, {}, encode(codec, batch), key, WEIGHTS)

    with jax.default_matmul_precision("highest"):
        placed = sharding.traced_for(mesh, compute)
        compiled = jax.jit(placed, out_shardings=(None, layout))
        (loss, _), found = compiled(
            jax.device_put(parameters, layout), feed.to_devices(batch, mesh)
        )
    return float(loss), jax.device_get(found)


def test_eight_devices_give_the_loss_and_gradients_of_one(pieces):
    loss, expected = gradients(pieces, 1, 1)
    largest = max(np.abs(value).max() for value in expected.values())
    for axes in ((2, 4), (2, 1, 2, 2)):
        other, found = gradients(pieces, *axes)
        assert abs(other - loss) <= 1e-5 * abs(loss)
        worst = max(np.abs(found[name] - expected[name]).max() for name in expected)
        assert worst <= 1e-5 * largest, f"{axes}: {worst / largest}"


def shapes_of(module, **changes):
    config = module.get_config()
    config.model.update(changes)
    return flat.blueprint(registry.maker(config)).shapes


@pytest.mark.parametrize("module", [base, metaworld, joint_dit])
def test_every_parameter_matches_a_rule_and_few_stay_whole(module):
    shapes = shapes_of(module)
    shardings = sharding.parameter_shardings(shapes, meshes.mesh(4, 2))
    whole = [v.size for name, v in shapes.items() if not any(shardings[name].spec)]
    share = sum(whole) / sum(v.size for v in shapes.values())
    assert sharding.replicated(shapes, shardings) == pytest.approx(share)
    assert 0 < share < 0.01


def test_every_rule_is_the_first_to_match_a_parameter():
    names = shapes_of(base, lora_rank=4, refiner_depth=1, decoder="mlp").keys()
    names |= shapes_of(metaworld).keys() | shapes_of(base, bridge_kind="self_attention").keys()
    firsts = {
        next(pattern for pattern, _ in sharding.RULES if re.search(pattern, name)) for name in names
    }
    assert firsts == {pattern for pattern, _ in sharding.RULES}
