"""Action decoders, the refiner, models that imagine nothing, and what bridges attend to."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vidact.inputs import Chunk, Inputs, SampleRequest, observe
from vidact.models.covar import action_decoder
from vidact.models.covar.config import CoVARConfig
from vidact.models.covar.model import CoVAR
from vidact.nn import flat

SIZES = CoVARConfig(
    depth=1, video_width=16, video_heads=2, action_width=16, action_heads=2, bridge_width=16,
    bridge_heads=2, latent_channels=3, action_dim=2, state_dim=3, text_width=16, text_depth=0,
    max_words=4, decoder_channels=(32,), text_dropout=0.0, refiner_width=16, refiner_heads=2,
)  # fmt: skip
REQUEST = SampleRequest(mode="joint", latents=3, actions=5, steps=2)


def model(**changes) -> CoVAR:
    """With random weights that are nowhere zero."""
    config = dataclasses.replace(SIZES, **changes)
    graphdef, shapes = nnx.split(nnx.eval_shape(lambda: CoVAR(config, rngs=nnx.Rngs(0))))
    rng = np.random.default_rng(1)
    leaves = jax.tree.map(lambda x: jnp.asarray(rng.normal(0, 0.2, x.shape), x.dtype), shapes)
    return nnx.merge(graphdef, leaves)


def normal(seed: int, *shape: int):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    latents = normal(0, 2, 3, 4, 4, 3)
    return Inputs(
        latents=latents, condition=latents[:, :1], latent_mask=jnp.ones((2, 3), bool),
        actions=normal(1, 2, 5, 2), action_mask=jnp.ones((2, 5, 2), bool), state=normal(2, 2, 3),
        text=normal(3, 2, 4, 16), text_mask=jnp.ones((2, 4), bool), fps=jnp.full((2,), 20.0),
        dataset_id=jnp.zeros((2,), jnp.int32),
    )  # fmt: skip


def noise() -> Chunk:
    return Chunk(latents=normal(4, 2, 3, 4, 4, 3), actions=normal(5, 2, 5, 2))


def run(function, module, *args):
    """function(module, *args), compiled."""
    graphdef, leaves = nnx.split(module)
    return jax.jit(lambda s, *args: function(nnx.merge(graphdef, s), *args))(leaves, *args)


@pytest.mark.parametrize("kind", action_decoder.DECODERS)
def test_decoders_are_zero_at_start_and_read_tokens_and_time(kind):
    config = dataclasses.replace(SIZES, decoder=kind, decoder_channels=(32, 32))
    fresh = action_decoder.make(config, nnx.Rngs(0))
    x, cond = normal(0, 1, 6, 16), normal(1, 1, 6, 16)
    assert not run(lambda m, *a: m(*a), fresh, x, cond).any()
    graphdef, leaves = nnx.split(fresh)
    leaves = jax.tree.map(lambda w: w + 0.1, leaves)
    decode = jax.jit(lambda x, cond: nnx.merge(graphdef, leaves)(x, cond))
    out = decode(x, cond)
    assert out.shape == (1, 6, 2)
    moved = np.abs(decode(x.at[0, 0].multiply(-1.0), cond) - out).max((0, 2))
    # The MLP decodes each action by itself, the others mix neighbours.
    assert moved[0] > 0 and (moved[1] > 0) == (kind != "mlp")
    assert np.abs(decode(x, cond + 1.0) - out).max() > 1e-4


def test_a_fresh_refiner_changes_nothing_and_a_trained_one_only_generated_actions(inputs):
    seen, start = observe(inputs), noise()

    def sample(module, refine, mode="joint"):
        request = dataclasses.replace(REQUEST, refine=refine, mode=mode)
        return run(lambda m, o, n: m.denoise(o, n, request), module, seen, start)

    module = model(refiner_depth=1)
    coarse, refined = sample(module, False), sample(module, True)
    assert np.abs(refined.actions - coarse.actions).max() > 1e-3
    np.testing.assert_array_equal(refined.latents, coarse.latents)
    given = sample(module, True, "forward")
    np.testing.assert_array_equal(given.actions, inputs.actions)
    kernel = module.refiner.final.kernel
    kernel[...] = jnp.zeros_like(kernel[...])
    module.refiner.final.bias[...] = jnp.zeros((2,))
    np.testing.assert_array_equal(sample(module, True).actions, coarse.actions)


def test_coarse_actions_train_the_refiner_alone(inputs):
    module = model(refiner_depth=1)
    graphdef, leaves = nnx.split(module)
    given = dataclasses.replace(inputs, coarse=inputs.actions + 0.5)

    def total(leaves):
        losses = nnx.merge(graphdef, leaves).loss(given, jax.random.key(0))
        assert losses.keys() == {"refiner"}
        return losses["refiner"].error.mean()

    found = flat.parameters(nnx.merge(graphdef, jax.jit(jax.grad(total))(leaves)))
    moved = {path for path, gradient in found.items() if np.abs(gradient).max() > 0}
    assert moved and all(path.startswith("refiner/") for path in moved)
    assert {"refiner/x_embedder/kernel", "refiner/y_proj/fc1/kernel"} <= moved


def test_a_model_that_imagines_nothing_has_no_video_loss_and_sees_the_first_frame_only(inputs):
    module = model(imagine=False)
    losses = run(lambda m, i: m.loss(i, jax.random.key(0)), module, inputs)
    assert losses.keys() == {"action"} and np.isfinite(losses["action"].error).all()
    start = noise()
    sample = lambda o, n: run(lambda m, o, n: m.denoise(o, n, REQUEST), module, o, n)  # noqa: E731
    chunk = sample(observe(inputs), start)
    np.testing.assert_array_equal(chunk.latents[:, 1:], start.latents[:, 1:])
    np.testing.assert_array_equal(chunk.latents[:, :1], inputs.condition)
    other = sample(observe(inputs), dataclasses.replace(start, latents=start.latents + 1))
    np.testing.assert_array_equal(chunk.actions, other.actions)
    moved = dataclasses.replace(observe(inputs), condition=inputs.condition + 1)
    assert np.abs(sample(moved, start).actions - chunk.actions).max() > 1e-4


@pytest.mark.parametrize("kind", ["bridge", "self_attention", "cross_attention", "none"])
@pytest.mark.parametrize("visibility", ["joint", "action_sees_video", "separate"])
def test_attention_between_modalities_adds_up_and_follows_the_visibility(inputs, kind, visibility):
    module = model(bridge_kind=kind, visibility=visibility)
    masks = (jnp.ones((2, 3), bool), jnp.ones((2, 5), bool).at[0, 3:].set(False))
    times = (jnp.full((2, 3), 0.5), jnp.full((2, 5), 0.5))
    args = (inputs.latents, inputs.actions, *times, observe(inputs), inputs.text, *masks)
    found = np.asarray(run(lambda m, *a: m.return_attention(*a), module, *args))
    assert found.shape == (1, 2, 2, 2)
    video_to_action, action_to_video = found[0, :, 0, 1], found[0, :, 1, 0]
    if kind == "none":
        assert not found.any()
        return
    if kind != "cross_attention":
        np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    hidden = {"joint": (), "action_sees_video": (video_to_action,)}
    for mass in hidden.get(visibility, (video_to_action, action_to_video)):
        assert (mass == 0).all()
    if visibility != "separate":
        assert (action_to_video > 0.05).all()
