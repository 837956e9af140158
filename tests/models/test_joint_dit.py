"""The joint DiT: one sequence, padding, times per token, the five modes, and that it learns."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from configs import joint_dit, quickstart
from tests import tiny
from tests.training import meshes
from vidact.errors import UserError
from vidact.inputs import Chunk, Inputs, SampleRequest, observe
from vidact.models import registry
from vidact.models.baselines.joint_dit import JointDiT
from vidact.models.covar import leaks
from vidact.models.covar.config import CoVARConfig
from vidact.nn import flat
from vidact.processes import joint_time
from vidact.training import checks, describe, sharding

SIZES = CoVARConfig(
    depth=2, video_width=16, video_heads=2, latent_channels=3, action_dim=2, state_dim=3,
    text_width=16, text_depth=1, vocabulary=32, max_words=4, text_dropout=0.0, decoder="mlp",
    decoder_channels=(16,), refiner_width=16, refiner_heads=2,
)  # fmt: skip
TIMES = np.linspace(0.1, 0.9, 9, dtype=np.float32).reshape(3, 3)


def blank(**changes):
    """The model's structure and its parameters' shapes; nothing is computed."""
    sizes = dataclasses.replace(SIZES, **changes)
    return nnx.split(nnx.eval_shape(lambda: JointDiT(sizes, rngs=nnx.Rngs(params=0))))


@pytest.fixture(scope="module")
def leaves():
    """Parameters that are nowhere zero, and no two alike."""
    rng, shapes = np.random.default_rng(1), blank()[1]
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(0, 0.2, x.shape), x.dtype), shapes)


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    rng = np.random.default_rng(0)
    normal = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
    latents = normal(3, 3, 4, 4, 3)
    return Inputs(
        latents=latents, condition=latents[:, :1], latent_mask=jnp.ones((3, 3), bool),
        actions=normal(3, 5, 2), action_mask=jnp.ones((3, 5, 2), bool), state=normal(3, 3),
        text=jnp.asarray(rng.integers(1, 32, (3, 4)), jnp.int32),
        text_mask=jnp.ones((3, 4), bool), fps=jnp.full((3,), 20.0),
        dataset_id=jnp.zeros((3,), jnp.int32),
    )  # fmt: skip


def velocities(model: JointDiT, inputs: Inputs, t_video, t_action):
    text = model.encode_text(inputs.text, inputs.text_mask)
    return model.velocities(
        inputs.latents, inputs.actions, t_video, t_action, observe(inputs), text,
        inputs.latent_mask, inputs.action_mask.any(-1),
    )  # fmt: skip


@pytest.fixture(scope="module")
def look(leaves):
    """`velocities` as a function of inputs and times, compiled once."""
    graphdef = blank()[0]
    compiled = jax.jit(lambda s, *args: velocities(nnx.merge(graphdef, s), *args))

    def call(inputs, t_video=TIMES, t_action=np.full((3, 5), 0.7, np.float32)):
        return jax.device_get(compiled(leaves, inputs, t_video, t_action))

    return call


def descent(**changes):
    """The gradient of the weighted losses as a function of parameters and inputs."""
    graphdef = blank(**changes)[0]

    def total(leaves, inputs):
        losses = nnx.merge(graphdef, leaves).loss(inputs, jax.random.key(3))
        return sum((x.error * x.weight).sum() for x in losses.values())

    return jax.jit(jax.value_and_grad(total))


@pytest.fixture(scope="module")
def step():
    """`descent` of the plain model, compiled once."""
    return descent()


@pytest.mark.parametrize("changes", [{}, {"dtype": "bfloat16"}, {"learn_sigma": True}])
def test_shapes_and_types(inputs, changes):
    graphdef, shapes = blank(**changes)

    def both(s, i):
        model = nnx.merge(graphdef, s)
        seen = velocities(model, i, jnp.asarray(TIMES), jnp.zeros((3, 5)))
        return seen, model.loss(i, jax.random.key(0))

    seen, losses = jax.eval_shape(both, shapes, inputs)
    assert [x.shape for x in seen] == [(3, 3, 4, 4, 3), (3, 5, 2)]
    assert {x.dtype for x in seen} == {jnp.dtype(changes.get("dtype", "float32"))}
    assert {x.dtype for x in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}
    assert {(x.shape, str(x.dtype)) for x in jax.tree.leaves(losses)} == {((3,), "float32")}


def test_padding_is_not_seen(look, inputs):
    masked = dataclasses.replace(
        inputs,
        latent_mask=inputs.latent_mask.at[:, 2].set(False),
        action_mask=inputs.action_mask.at[:, 3:].set(False),
        text_mask=inputs.text_mask.at[:, 2:].set(False),
    )
    other = dataclasses.replace(
        masked,
        latents=masked.latents.at[:, 2].add(3.0),
        actions=masked.actions.at[:, 3:].add(3.0),
        text=masked.text.at[:, 2:].set(1),
    )
    before, after, whole = look(masked), look(other), look(inputs)
    np.testing.assert_array_equal(before[0][:, :2], after[0][:, :2])
    np.testing.assert_array_equal(before[1][:, :3], after[1][:, :3])
    assert np.abs(whole[0] - before[0])[:, :2].max() > 1e-3
    assert np.abs(whole[1] - before[1])[:, :3].max() > 1e-3


@pytest.mark.parametrize("name", ["latents", "actions", "state", "text", "fps"])
def test_everything_else_is_seen_by_both_modalities(look, inputs, name):
    value = getattr(inputs, name)
    first = (slice(None), 0) if value.ndim > 1 else slice(None)
    changed = value.at[first].set(3) if name == "text" else value.at[first].add(1)
    pairs = zip(look(inputs), look(dataclasses.replace(inputs, **{name: changed})), strict=True)
    for before, after in pairs:
        assert np.abs(before[:, 1:] - after[:, 1:]).max() > 1e-5


def test_every_token_has_its_own_time(look, inputs):
    """Of tokens that nobody attends to, each answers to its own time alone."""
    hidden = dataclasses.replace(
        inputs,
        latent_mask=inputs.latent_mask.at[:, 1:].set(False),
        action_mask=inputs.action_mask.at[:, 1:].set(False),
    )
    t_action = np.full((3, 5), 0.7, np.float32)
    before = look(hidden, TIMES, t_action)
    video, action = TIMES.copy(), t_action.copy()
    video[:, 2], action[:, 0] = 0.35, 0.05
    after = look(hidden, video, t_action)
    assert np.abs(before[0] - after[0]).max((0, 2, 3, 4)).tolist()[:2] == [0, 0]
    assert np.abs(before[0] - after[0])[:, 2].max() > 1e-3
    np.testing.assert_array_equal(before[1], after[1])
    after = look(hidden, TIMES, action)  # a real action, which all attend to
    assert all(np.abs(x - y).max() > 1e-3 for x, y in zip(before, after, strict=True))


def test_a_sample_without_actions_trains_nothing_of_the_actions(leaves, inputs, step):
    """Exactly, and none of their numbers reach the video or become NaN."""
    nothing = dataclasses.replace(inputs, action_mask=jnp.zeros_like(inputs.action_mask))
    other = dataclasses.replace(nothing, actions=inputs.actions + 5, state=inputs.state - 3)
    (before, gradient), (after, changed) = step(leaves, nothing), step(leaves, other)
    assert before == after and np.isfinite(before)
    for name, value in flat.parameters(nnx.merge(blank()[0], gradient)).items():
        value = np.asarray(value)
        assert np.isfinite(value).all(), name
        if name.startswith("action/"):
            assert not value.any(), name
        elif name != "y_embedding":  # no text is dropped
            assert value.any(), name
    jax.tree.map(np.testing.assert_array_equal, gradient, changed)


@pytest.mark.parametrize("mode", joint_time.MODES)
def test_modes_keep_what_they_are_given(leaves, inputs, mode):
    rng = np.random.default_rng(2)
    noise = Chunk(*(jnp.asarray(rng.normal(size=x.shape), jnp.float32)
                    for x in (inputs.latents, inputs.actions)))  # fmt: skip
    request, graphdef = SampleRequest(mode=mode, latents=3, actions=5, steps=2), blank()[0]
    run = jax.jit(lambda s, o, n: nnx.merge(graphdef, s).denoise(o, n, request))
    found = run(leaves, observe(inputs), noise)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(found))
    np.testing.assert_array_equal(found.latents[:, 0], inputs.condition[:, 0])
    kept_video = {"policy": noise.latents, "inverse": inputs.latents}.get(mode)
    kept_actions = {"video": noise.actions, "forward": inputs.actions}.get(mode)
    if kept_video is None:
        assert np.abs(found.latents - noise.latents)[:, 1:].min(axis=(2, 3, 4)).min() > 0
    else:
        np.testing.assert_array_equal(found.latents[:, 1:], kept_video[:, 1:])
    if kept_actions is None:
        assert np.abs(found.actions - noise.actions).min() > 0
    else:
        np.testing.assert_array_equal(found.actions, kept_actions)


def test_remat_and_unrolling_change_nothing(leaves, inputs, step):
    found, expected = descent(remat="full", unroll=2)(leaves, inputs), step(leaves, inputs)
    largest = max(np.abs(x).max() for x in jax.tree.leaves(expected[1]))
    for value, wanted in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-5 * largest)


def test_what_a_visibility_hides_is_hidden():
    sizes = dataclasses.replace(SIZES, visibility="action_sees_first_frame")
    for who, what, moved in leaks.measure(sizes, "joint", JointDiT):
        assert (moved == 0) == ((who, what) == ("action", "future"))


def test_one_batch_is_learnt(leaves, inputs, step):
    optimizer = optax.adam(1e-2)
    state, losses = optimizer.init(leaves), []
    update = jax.jit(optimizer.update)
    for _ in range(60):
        loss, gradient = step(leaves, inputs)
        updates, state = update(gradient, state)
        leaves = jax.tree.map(jnp.add, leaves, updates)
        losses.append(float(loss))
    assert losses[-1] < 0.5 * losses[0], losses


def test_the_configuration_matches_the_quickstart_in_size():
    shapes = flat.blueprint(registry.maker(joint_dit.get_config())).shapes
    line = describe.parameter_line(shapes)
    counts = {name: int(count) for name, count in re.findall(r"(\w+): (\d+)", line)}
    assert set(counts) == {"total", "trunk", "video", "action", "decoder", "text"}
    other = flat.blueprint(registry.maker(quickstart.get_config())).shapes
    wanted = int(re.search(r"total: (\d+)", describe.parameter_line(other))[1])
    assert abs(counts["total"] - wanted) < 0.01 * wanted
    checks.check_sizes(joint_dit.get_config())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model__bridge_kind": "none"}, "config.model.bridge_kind='none'"),
        ({"model__bridge_every": 2}, "config.model.bridge_every=2"),
        ({"model__video_heads": 3}, "config.model.video_width=32"),
        ({"model__family": "gpt"}, "choose one of covar, joint_dit"),
    ],
)
def test_settings_that_mean_nothing_are_named(tmp_path, changes, named):
    config = tiny.config(tmp_path, **{"model__family": "joint_dit", **changes})
    with pytest.raises(UserError, match=re.escape(named)):
        checks.check_sizes(config)


def test_widths_that_it_does_not_use_are_not_checked(tmp_path):
    given = {"model__family": "joint_dit", "model__bridge_heads": 3, "model__action_width": 5}
    checks.check_sizes(tiny.config(tmp_path, **given))


def test_every_parameter_has_its_place_on_the_mesh():
    """The robot's action dimensions, 7 here, divide by nothing."""
    config = joint_dit.get_config()
    config.model.action_dim = config.model.state_dim = 7
    shapes = flat.blueprint(registry.maker(config)).shapes
    mesh = meshes.mesh(2, 4)
    for name, value in shapes.items():
        sharding.partition(name, value.shape, mesh)
