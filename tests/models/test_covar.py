"""CoVAR: the untouched bridge, padding, the five modes, guidance and rematerialisation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vidact.inputs import Chunk, Inputs, SampleRequest, observe
from vidact.models.covar.config import CoVARConfig
from vidact.models.covar.model import CoVAR

SIZES = CoVARConfig(
    depth=2, video_width=16, video_heads=2, action_width=16, action_heads=2, bridge_width=16,
    bridge_heads=2, latent_channels=3, action_dim=2, state_dim=3, text_width=16, text_depth=1,
    vocabulary=32, max_words=4, decoder_channels=(8, 8),
)  # fmt: skip


def make(config: CoVARConfig = SIZES, noise: float = 0.0) -> CoVAR:
    model = nnx.jit(lambda: CoVAR(config, rngs=nnx.Rngs(params=0)))()
    graphdef, leaves = nnx.split(model)
    rng = np.random.default_rng(1)
    moved = jax.tree.map(lambda x: x + jnp.asarray(rng.normal(0, noise, x.shape), x.dtype), leaves)
    return nnx.merge(graphdef, moved)


@pytest.fixture(scope="module")
def model() -> CoVAR:
    return make(noise=0.05)


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


def losses(model: CoVAR, inputs: Inputs) -> dict[str, np.ndarray]:
    graphdef, leaves = nnx.split(model)
    run = jax.jit(lambda s, i: nnx.merge(graphdef, s).loss(i, jax.random.key(3)))
    return {name: np.asarray(value) for name, (value, _) in run(leaves, inputs).items()}


def test_an_untouched_bridge_leaves_the_video_stream_alone(inputs):
    model, masks = make(), (jnp.ones((3, 3), bool), jnp.ones((3, 5), bool))
    t = jnp.full((3, 3), 0.4)
    text = model.encode_text(inputs.text, inputs.text_mask)
    joint, _ = model.velocities(
        inputs.latents, inputs.actions, t, jnp.full((3, 5), 0.7), observe(inputs), text, *masks
    )
    alone = model.video(inputs.latents, t, text, inputs.text_mask, inputs.fps)
    np.testing.assert_allclose(joint, alone, atol=1e-6)


def test_padding_carries_no_loss_and_no_information(model, inputs):
    frames = inputs.latent_mask.at[0, 2].set(False)
    steps = inputs.action_mask.at[0, 3:].set(False)
    padded = dataclasses.replace(inputs, latent_mask=frames, action_mask=steps)
    other = dataclasses.replace(
        padded, latents=padded.latents.at[0, 2].add(5.0), actions=padded.actions.at[0, 3:].add(5.0)
    )
    before, after, full = (losses(model, x) for x in (padded, other, inputs))
    np.testing.assert_allclose(before["video"], after["video"], rtol=1e-5)
    # The UNet's kernels reach over the last real action: only what lies under the mask is lost.
    np.testing.assert_allclose(before["action"][1:], after["action"][1:], rtol=1e-5)
    assert not np.allclose(full["video"][0], before["video"][0])


@pytest.mark.parametrize("mode", ["joint", "policy", "video", "forward", "inverse"])
def test_modes_keep_what_they_are_given(model, inputs, mode):
    rng = np.random.default_rng(2)
    noise = Chunk(
        latents=jnp.asarray(rng.normal(size=(3, 3, 4, 4, 3)), jnp.float32),
        actions=jnp.asarray(rng.normal(size=(3, 5, 2)), jnp.float32),
    )
    request = SampleRequest(mode=mode, latents=3, actions=5, steps=2)
    graphdef, leaves = nnx.split(model)
    run = jax.jit(lambda s, o, n: nnx.merge(graphdef, s).denoise(o, n, request))
    found = run(leaves, observe(inputs), noise)
    np.testing.assert_array_equal(found.latents[:, 0], inputs.condition[:, 0])
    pinned = {"policy": noise.latents, "inverse": inputs.latents}.get(mode)
    same_video = pinned is not None and np.array_equal(found.latents[:, 1:], pinned[:, 1:])
    assert same_video == (mode in ("policy", "inverse"))
    pinned = {"video": noise.actions, "forward": inputs.actions}.get(mode)
    assert (pinned is not None and np.array_equal(found.actions, pinned)) == (
        mode in ("video", "forward")
    )


@pytest.mark.parametrize("changes", [{"remat": "full"}, {"remat": "dots"}, {"unroll": 2}])
def test_remat_and_unrolling_change_nothing(model, inputs, changes):
    graphdef, leaves = nnx.split(model)
    other = make(dataclasses.replace(SIZES, **changes))
    nnx.update(other, leaves)
    for name, value in losses(model, inputs).items():
        np.testing.assert_allclose(losses(other, inputs)[name], value, rtol=1e-5)
