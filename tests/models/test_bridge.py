"""The kinds of bridge of CoVAR's table IV, at any spacing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.training import meshes
from vidact.models.covar import bridge, leaks, visibility
from vidact.models.covar.config import CoVARConfig
from vidact.models.covar.model import CoVAR
from vidact.nn import flat, layers
from vidact.training import sharding

SIZES = CoVARConfig(
    depth=4, video_width=16, video_heads=2, action_width=8, action_heads=2, bridge_width=24,
    bridge_heads=2, latent_channels=3, action_dim=2, state_dim=3, text_width=16, text_depth=1,
    vocabulary=32, max_words=4, decoder_channels=(32,),
)  # fmt: skip
SEEING = ("bridge", "self_attention", "cross_attention")


def plan_of(**changes):
    config = dataclasses.replace(SIZES, **changes)
    return flat.blueprint(lambda: CoVAR(config, rngs=nnx.Rngs(0)))


def count(**changes):
    shapes = plan_of(**changes).shapes
    return sum(v.size for path, v in shapes.items() if path.startswith("bridges/"))


def link(kind, **changes):
    """One bridge with random weights, two frames of two tokens, the state and an action."""
    config = dataclasses.replace(SIZES, bridge_kind=kind, **changes)
    rng = np.random.default_rng(0)
    graphdef, shapes = nnx.split(nnx.eval_shape(lambda: bridge.make(config, nnx.Rngs(0))))
    weights = jax.tree.map(lambda x: jnp.asarray(rng.normal(0, 0.3, x.shape), x.dtype), shapes)
    video = jnp.asarray(rng.normal(size=(1, 2, 2, 16)), jnp.float32)
    action = jnp.asarray(rng.normal(size=(1, 2, 1, 8)), jnp.float32)
    return nnx.merge(graphdef, weights), video, action, bridge.rotations(config, 2, 2, 1)


def test_kinds_have_as_many_parameters_when_matched():
    sizes = dict(video_width=1152, action_width=512, bridge_width=768, bridge_heads=16, depth=2)
    wanted = count(**sizes)
    assert count(**sizes, bridge_kind="cross_attention") == wanted
    unmatched = count(**sizes, bridge_kind="self_attention")
    matched = count(**sizes, bridge_kind="self_attention", bridge_matched=True)
    assert abs(matched / wanted - 1) < 0.02 < abs(unmatched / wanted - 1)
    assert count(**sizes, bridge_kind="none") == 0


@pytest.mark.parametrize("kind", SEEING)
def test_fresh_bridges_leave_both_streams_alone(kind):
    config = dataclasses.replace(SIZES, bridge_kind=kind)
    _, video, action, turns = link(kind)
    out = bridge.make(config, nnx.Rngs(0))(video, action, turns, jnp.ones((1, 6), bool))
    np.testing.assert_array_equal(out[0], video)
    np.testing.assert_array_equal(out[1], action)


def moved(kind, whose):
    """By how much each stream's output moves, less its own change, if one input token moves."""
    layer, video, action, turns = link(kind)
    mask = jnp.ones((1, 6), bool)
    before = layer(video, action, turns, mask)
    step = {
        "video": (video.at[:, 1, 1].add(jnp.arange(16.0)), action),
        "action": (video, action.at[:, 1].add(jnp.arange(8.0))),
    }
    after = layer(*step[whose], turns, mask)
    # Tokens that did not move themselves.
    return [
        float(np.abs(after[0] - before[0])[:, 0].max()),
        float(np.abs(after[1] - before[1])[:, 0].max()),
    ]


@pytest.mark.parametrize("kind", bridge.KINDS)
def test_who_sees_whom(kind):
    video, action = moved(kind, "video"), moved(kind, "action")
    own = kind in ("bridge", "self_attention")
    other = kind != "none"
    assert [video[0] > 1e-4, video[1] > 1e-4] == [own, other]
    assert [action[0] > 1e-4, action[1] > 1e-4] == [other, own]
    if not own:
        assert video[0] == action[1] == 0


def test_cross_attention_over_nothing_is_nothing():
    layer, video, action, turns = link("cross_attention")
    no_actions = jnp.asarray([[True] * 4 + [False] * 2])
    other = layer(video, action + 3, turns, no_actions)
    out = layer(video, action, turns, no_actions)
    np.testing.assert_array_equal(out[0], other[0])
    bias = layer.video.proj.bias[...]
    np.testing.assert_allclose(out[0], video + bias, atol=1e-6)
    apart = jnp.asarray(visibility.bias("separate", 2, 2, 2))
    hidden = layer(video, action, turns, jnp.ones((1, 6), bool), apart)
    np.testing.assert_allclose(hidden[1], action + layer.action.proj.bias[...], atol=1e-6)


def test_kinds_keep_what_is_hidden():
    for kind in ("self_attention", "cross_attention"):
        config = dataclasses.replace(
            SIZES, depth=2, bridge_kind=kind, visibility="action_sees_first_frame"
        )
        found = {f"{who}<-{what}": x for who, what, x in leaks.measure(config, "joint")}
        assert found["action<-future"] == 0 < min(found["action<-video"], found["video<-action"])
    config = dataclasses.replace(SIZES, depth=2, bridge_kind="none")
    assert not any(x for _, _, x in leaks.measure(config, "joint"))


def test_a_bridge_after_every_second_layer():
    """The nested scan is the plain loop over layers."""
    plan = plan_of(bridge_every=2)
    assert plan.shapes["bridges/video/qkv/kernel"].shape[0] == 2
    rng = np.random.default_rng(1)
    model = plan.assemble(
        {k: jnp.asarray(rng.normal(0, 0.2, v.shape), v.dtype) for k, v in plan.shapes.items()}
    )
    observation, noise = leaks.made_up(SIZES)
    t, text = jnp.full((1, 3), 0.4), model.encode_text(observation.text, observation.text_mask)
    masks = jnp.ones((1, 3), bool), jnp.ones((1, 4), bool)
    args = (noise.latents, noise.actions, t, jnp.full((1, 4), 0.7), observation, text, *masks)
    found = jax.jit(lambda *args: model.velocities(*args))(*args)

    x, y = model.video.embed(noise.latents), model.video.y_proj(text)
    a, ya = model.action.embed(noise.actions, observation.state), model.action.y_proj(text)
    seconds, t6 = model.video.time(t, observation.fps)
    ticks, a6 = model.action.time(jnp.asarray([[0, 0.7, 0.7, 0.7, 0.7]]), observation.fps)
    turns = model.video.rotation(3), model.action.rotation(4)
    across = bridge.rotations(SIZES, 3, x.shape[2], 4)
    words, seen = observation.text_mask, jnp.ones((1, 3 * x.shape[2] + 5), bool)
    for i in range(4):
        x = layers.layer(model.video.spatial_blocks, i)(x, t6, y, words)
        x = layers.layer(model.video.temporal_blocks, i)(x, t6, y, words, turns[0])
        a = layers.layer(model.action.blocks, i)(a, a6, ya, words, turns[1])
        if i % 2:
            x, a = layers.layer(model.bridges, i // 2)(x, a, across, seen)
    np.testing.assert_allclose(
        found[0], model.video.head(x, seconds, noise.latents.shape), atol=1e-4
    )
    np.testing.assert_allclose(found[1], model.action.decode(a, ticks, masks[1]), atol=1e-4)


def test_every_kind_has_its_place_on_the_mesh():
    mesh = meshes.mesh(4, 2)
    for kind in bridge.KINDS:
        placed = sharding.parameter_shardings(plan_of(bridge_kind=kind).shapes, mesh)
        split = [path for path, s in placed.items() if path.startswith("bridges/") and any(s.spec)]
        assert all(path.endswith("/kernel") for path in split)
        assert bool(split) == (kind != "none")
