"""CoVAR: the untouched bridge, padding, the five modes, guidance and rematerialisation."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vidact.inputs import Chunk, Inputs, SampleRequest, observe
from vidact.models.covar import bridge
from vidact.models.covar.config import CoVARConfig
from vidact.models.covar.model import CoVAR
from vidact.nn import flat, lora
from vidact.processes import joint_time

SIZES = CoVARConfig(
    depth=2, video_width=16, video_heads=2, action_width=16, action_heads=2, bridge_width=16,
    bridge_heads=2, latent_channels=3, action_dim=2, state_dim=3, text_width=16, text_depth=1,
    vocabulary=32, max_words=4, decoder_channels=(32, 32),
)  # fmt: skip


def blank(config: CoVARConfig):
    """The model's structure and its parameters' shapes; nothing is computed."""
    return nnx.split(nnx.eval_shape(lambda: CoVAR(config, rngs=nnx.Rngs(params=0))))


@pytest.fixture(scope="module")
def leaves():
    """Parameters that are nowhere zero, and no two alike."""
    rng, shapes = np.random.default_rng(1), blank(SIZES)[1]
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(0, 0.2, x.shape), x.dtype), shapes)


@pytest.fixture(scope="module")
def model(leaves) -> CoVAR:
    return nnx.merge(blank(SIZES)[0], leaves)


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


@pytest.fixture(scope="module")
def noise(inputs) -> Chunk:
    rng = np.random.default_rng(2)
    normal = lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32)  # noqa: E731
    return Chunk(latents=normal(inputs.latents), actions=normal(inputs.actions))


def run(model: CoVAR, function, *args):
    """function(model, *args), compiled."""
    graphdef, leaves = nnx.split(model)
    return jax.jit(lambda s, *args: function(nnx.merge(graphdef, s), *args))(leaves, *args)


def velocities(model: CoVAR, inputs: Inputs):
    """Of both modalities, at one time for each frame and action."""
    t = jnp.linspace(0.1, 0.9, 9).reshape(3, 3)
    text = model.encode_text(inputs.text, inputs.text_mask)
    return model.velocities(
        inputs.latents, inputs.actions, t, jnp.full((3, 5), 0.7), observe(inputs), text,
        inputs.latent_mask, inputs.action_mask.any(-1),
    )  # fmt: skip


@pytest.fixture(scope="module")
def look(model):
    """`velocities` of the model, compiled once."""
    graphdef, leaves = nnx.split(model)
    compiled = jax.jit(lambda s, i: velocities(nnx.merge(graphdef, s), i))
    return lambda inputs: jax.device_get(compiled(leaves, inputs))


def test_an_untouched_bridge_leaves_the_video_stream_alone(model, inputs):
    fresh = bridge.Bridge(SIZES, rngs=nnx.Rngs(0))
    for side in (fresh.video, fresh.action):
        assert not side.proj.kernel[...].any() and not side.proj.bias[...].any()
    untouched = nnx.clone(model)
    for side in (untouched.bridges.video, untouched.bridges.action):
        side.proj.kernel[...] = jnp.zeros_like(side.proj.kernel[...])
        side.proj.bias[...] = jnp.zeros_like(side.proj.bias[...])

    def both(model, inputs):
        text = model.encode_text(inputs.text, inputs.text_mask)
        t = jnp.linspace(0.1, 0.9, 9).reshape(3, 3)
        alone = model.video(inputs.latents, t, text, inputs.text_mask, inputs.fps)
        return alone, velocities(model, inputs)[0]

    alone, joint = run(untouched, both, inputs)
    np.testing.assert_allclose(joint, alone, atol=1e-6)
    with jax.disable_jit():  # op by op nothing is fused, and nothing differs
        alone, joint = both(untouched, inputs)
    np.testing.assert_array_equal(joint, alone)
    assert np.abs(run(model, both, inputs)[1] - joint).max() > 1e-2


def test_fresh_lora_factors_change_nothing_and_merged_ones_compute_the_same(inputs):
    config = dataclasses.replace(SIZES, lora_rank=2, lora_alpha=3.0)
    makers = [lambda c=c: CoVAR(c, rngs=nnx.Rngs(params=0)) for c in (config, SIZES)]
    fresh = jax.jit(lambda: flat.parameters(makers[0]()))()
    factors = {path for path in fresh if lora.is_factor(path)}
    assert len(factors) == 2 * 2 * 7  # two stacks of blocks with seven affine layers each
    assert all(re.match("video/(spatial|temporal)_blocks/", path) for path in factors)
    # The last draw before the factors'.
    expected = jax.jit(lambda: flat.parameters(makers[1]())["y_embedding"])()
    np.testing.assert_array_equal(fresh["y_embedding"], expected)

    def compiled(make):
        plan, t = flat.blueprint(make), jnp.linspace(0.1, 0.9, 9).reshape(3, 3)
        text = jnp.ones((3, 4, 16))
        args = (inputs.latents, t, text, inputs.text_mask, inputs.fps)
        return jax.jit(lambda p: plan.assemble(p).video(*args))

    look, look_plain = map(compiled, makers)
    base = {path: value for path, value in fresh.items() if path not in factors}
    np.testing.assert_array_equal(look(fresh), look_plain(base))
    rng = np.random.default_rng(3)
    moved = {k: v + jnp.asarray(rng.normal(0, 0.1, v.shape), v.dtype) for k, v in fresh.items()}
    found = look(moved)
    merged = lora.merged(moved, config.lora_alpha)
    np.testing.assert_allclose(look_plain(merged), found, rtol=1e-5, atol=1e-5)
    assert np.abs(look_plain({path: moved[path] for path in base}) - found).max() > 1e-2


def test_shapes_and_types_of_both_precisions(inputs):
    for dtype in ("float32", "bfloat16"):
        graphdef, shapes = blank(dataclasses.replace(SIZES, dtype=dtype))
        seen, cost = jax.eval_shape(
            lambda s, i, g=graphdef: (
                velocities(nnx.merge(g, s), i),
                nnx.merge(g, s).loss(i, jax.random.key(0)),
            ),
            shapes,
            inputs,
        )
        assert [x.shape for x in seen] == [(3, 3, 4, 4, 3), (3, 5, 2)]
        assert {x.dtype for x in seen} == {jnp.dtype(dtype)}
        assert {x.dtype for x in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}
        assert {(x.shape, str(x.dtype)) for x in jax.tree.leaves(cost)} == {((3,), "float32")}


def test_masked_keys_are_not_seen(look, inputs):
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
    before, after = look(masked), look(other)
    np.testing.assert_array_equal(before[0][:, :2], after[0][:, :2])
    np.testing.assert_array_equal(before[1][:, :3], after[1][:, :3])


@pytest.mark.parametrize("name", ["latents", "actions", "state", "text", "fps"])
def test_everything_else_is_seen_by_both_streams(look, inputs, name):
    value = getattr(inputs, name)
    first = (slice(None), 0) if value.ndim > 1 else slice(None)
    changed = value.at[first].set(3) if name == "text" else value.at[first].add(1)
    pairs = zip(look(inputs), look(dataclasses.replace(inputs, **{name: changed})), strict=True)
    for before, after in pairs:
        assert np.abs(before[:, 1:] - after[:, 1:]).max() > 1e-5


def test_dropped_text_is_the_null_embedding(model, inputs):
    drop = jnp.asarray([True, False, True])
    kept = run(model, lambda m, i: m.encode_text(i.text, i.text_mask), inputs)
    found = run(model, lambda m, i: m.encode_text(i.text, i.text_mask, drop), inputs)
    np.testing.assert_allclose(found[1], kept[1], atol=1e-6)
    np.testing.assert_array_equal(found[0], model.y_embedding[...])
    np.testing.assert_array_equal(found[2], model.y_embedding[...])


def test_padding_carries_no_loss_and_no_information(model, inputs):
    frames = inputs.latent_mask.at[0, 2].set(False)
    steps = inputs.action_mask.at[0, 3:].set(False)
    padded = dataclasses.replace(inputs, latent_mask=frames, action_mask=steps)
    other = dataclasses.replace(
        padded, latents=padded.latents.at[0, 2].add(5.0), actions=padded.actions.at[0, 3:].add(5.0)
    )
    graphdef, leaves = nnx.split(model)
    loss = jax.jit(lambda s, i: nnx.merge(graphdef, s).loss(i, jax.random.key(3)))
    before, after, full = (
        {name: value.error for name, value in jax.device_get(loss(leaves, x)).items()}
        for x in (padded, other, inputs)
    )
    for name in ("video", "action"):  # not even the UNet's kernels carry padding to its neighbours
        np.testing.assert_array_equal(before[name], after[name])
    assert not np.allclose(full["video"][0], before["video"][0])


@pytest.mark.parametrize(
    "kind", ["bridge", pytest.param("cross_attention", marks=pytest.mark.slow)]
)
def test_a_video_without_actions_trains_the_video_branch_only(leaves, inputs, kind):
    """Exactly: no gradient of the action branch, and none of its numbers reach the video."""
    nothing = dataclasses.replace(inputs, action_mask=jnp.zeros_like(inputs.action_mask))
    other = dataclasses.replace(nothing, actions=inputs.actions + 5, state=inputs.state - 3)
    graphdef = blank(dataclasses.replace(SIZES, bridge_kind=kind))[0]

    def total(leaves, inputs):
        losses = nnx.merge(graphdef, leaves).loss(inputs, jax.random.key(3))
        return sum((x.error * x.weight).sum() for x in losses.values())

    step = jax.jit(jax.value_and_grad(total))
    (before, gradient), (after, _) = step(leaves, nothing), step(leaves, other)
    assert before == after and np.isfinite(before)
    flat = {"/".join(map(str, path)): x for path, x in nnx.to_flat_state(gradient)}
    action = {k: v for k, v in flat.items() if k.startswith("action/") or "/action/" in k}
    assert any("state_encoder" in k for k in action) and any("bridges/" in k for k in action)
    for name, value in action.items():
        assert not np.asarray(value[...]).any(), name
    assert all(np.isfinite(value[...]).all() for value in flat.values())
    assert np.abs(flat["video/final_layer/linear/kernel"][...]).max() > 0


@pytest.mark.parametrize("mode", joint_time.MODES)
def test_modes_keep_what_they_are_given(model, inputs, noise, mode):
    request = SampleRequest(mode=mode, latents=3, actions=5, steps=2)
    found = run(model, lambda m, o, n: m.denoise(o, n, request), observe(inputs), noise)
    np.testing.assert_array_equal(found.latents[:, 0], inputs.condition[:, 0])
    pinned_video = {"policy": noise.latents, "inverse": inputs.latents}.get(mode)
    pinned_actions = {"video": noise.actions, "forward": inputs.actions}.get(mode)
    if pinned_video is None:
        assert np.abs(found.latents - noise.latents)[:, 1:].min(axis=(2, 3, 4)).min() > 0
    else:
        np.testing.assert_array_equal(found.latents[:, 1:], pinned_video[:, 1:])
    if pinned_actions is None:
        assert np.abs(found.actions - noise.actions).min() > 0
    else:
        np.testing.assert_array_equal(found.actions, pinned_actions)


@pytest.mark.parametrize(("mode", "field"), [("forward", "actions"), ("inverse", "latents")])
def test_a_mode_without_what_it_needs_is_refused(model, inputs, noise, mode, field):
    lacking = dataclasses.replace(observe(inputs), **{field: None})
    with pytest.raises(ValueError, match=f"mode {mode} needs observation.{field}"):
        model.denoise(lacking, noise, SampleRequest(mode=mode, latents=3, actions=5))


def test_guidance_of_one_is_no_guidance(model, inputs, noise):
    def sample(**scales):
        request = SampleRequest(latents=3, actions=5, steps=1, **scales)
        return run(model, lambda m, o, n: m.denoise(o, n, request), observe(inputs), noise)

    plain, video, actions = sample(), sample(video_guidance=3.0), sample(action_guidance=3.0)
    np.testing.assert_allclose(actions.latents, plain.latents, atol=1e-4)
    np.testing.assert_allclose(video.actions, plain.actions, atol=1e-4)
    assert np.abs(video.latents - plain.latents).max() > 1e-2
    assert np.abs(actions.actions - plain.actions).max() > 1e-2


@pytest.mark.parametrize("changes", [{"remat": "full"}, {"remat": "dots"}, {"unroll": 2}])
def test_remat_and_unrolling_change_nothing(leaves, look, inputs, changes):
    other = nnx.merge(blank(dataclasses.replace(SIZES, **changes))[0], leaves)
    for found, expected in zip(run(other, velocities, inputs), look(inputs), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
