"""The video autoencoder cuts, pads and samples as it says, whatever its weights."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.training import meshes
from vidact.encoders.video import kl_vae, opensora_vae, temporal_vae
from vidact.errors import UserError
from vidact.nn import flat
from vidact.training import sharding

# Compiling is most of what these tests do.
SMALL = opensora_vae.OpenSoraVAEConfig(
    spatial=kl_vae.KLConfig(channels=(4, 4), layers=1, groups=2),
    temporal=temporal_vae.TemporalConfig(4, 1, multipliers=(1, 1), halvings=(True,), groups=2),
    multiple=4,
)
ENCODE = nnx.jit(lambda model, clips, key: model.encode(clips, key))
COUNTS = {1: 1, 9: 3, 16: 4, 17: 5, 18: 6, 34: 10, 35: 11, 51: 15}


def blueprint(config):
    return flat.blueprint(lambda: opensora_vae.OpenSoraVAE(config, rngs=nnx.Rngs(0)))


@functools.cache
def small(**changes):
    """A very small model whose weights are always the same noise."""
    plan = blueprint(dataclasses.replace(SMALL, **changes))
    rng = np.random.default_rng(0)
    leaves = [
        jnp.asarray(0.4 * rng.standard_normal(x.shape, np.float32)) for x in plan.shapes.values()
    ]
    return nnx.merge(plan.graphdef, jax.tree.unflatten(plan.treedef, leaves))


def encoded(clip, key=None, **changes):
    return np.asarray(ENCODE(small(**changes), clip, key))


@pytest.fixture(scope="module")
def clip():
    """Two clips of a size that needs no padding."""
    rng = np.random.default_rng(1)
    return jnp.asarray(rng.uniform(-1, 1, (2, 5, 8, 12, 3)), jnp.float32)


@pytest.mark.parametrize(("frames", "count"), COUNTS.items())
def test_frame_counts(frames, count):
    assert opensora_vae.FULL.latents(frames) == count


def test_shapes_of_wide_clips():
    wide = kl_vae.KLConfig(channels=(4,) * 4, layers=1, groups=2)
    quarter = dataclasses.replace(SMALL.temporal, multipliers=(1,) * 3, halvings=(True,) * 2)
    plan = blueprint(opensora_vae.OpenSoraVAEConfig(wide, quarter))
    blank = nnx.merge(plan.graphdef, jax.tree.unflatten(plan.treedef, plan.shapes.values()))
    clip = jax.ShapeDtypeStruct((2, 35, 180, 320, 3), jnp.float32)
    latents = nnx.eval_shape(lambda m, x: m.encode(x), blank, clip)
    assert latents.shape == (2, 11, 24, 40, 4)
    decoded = nnx.eval_shape(lambda m, z: m.decode(z, 35, (180, 320)), blank, latents)
    assert decoded.shape == clip.shape


def test_any_size_is_padded_and_cropped(clip):
    odd = clip[:, :, :6, :9]
    whole = jnp.pad(odd, ((0, 0), (0, 0), (0, 2), (0, 3), (0, 0)), mode="edge")
    latents = encoded(odd)
    assert latents.shape == (2, 3, 4, 6, 4)
    np.testing.assert_array_equal(latents, encoded(whole))
    both = nnx.jit(lambda m, z: (m.decode(z, 5), m.decode(z, 5, (6, 9))))
    padded, cropped = both(small(), jnp.asarray(latents))
    assert padded.shape == clip.shape
    np.testing.assert_array_equal(cropped, padded[:, :, :6, :9])


def test_micro_batches_change_nothing(clip):
    np.testing.assert_allclose(encoded(clip, micro_batch=3), encoded(clip), atol=1e-4)


def test_chunks_and_clips_know_nothing_of_each_other(clip):
    changed = clip.at[1, 4:].set(0)  # chunks of 4 frames: the last one stands alone
    before, after = encoded(clip, chunk=4), encoded(changed, chunk=4)
    np.testing.assert_array_equal(before[0], after[0])
    np.testing.assert_array_equal(before[1, :2], after[1, :2])
    assert np.abs(before[1, 2] - after[1, 2]).max() > 0.01


def test_posteriors_are_noise_around_the_mean():
    rng = np.random.default_rng(0)
    moments = jnp.asarray(rng.uniform(-40, 4, (2, 3, 8)), jnp.float32)
    key = jax.random.key(1)
    drawn = opensora_vae.posterior(moments, key) - moments[..., :4]
    wanted = np.exp(np.maximum(moments[..., 4:], -30) / 2) * jax.random.normal(key, (2, 3, 4))
    np.testing.assert_allclose(drawn, wanted, atol=1e-5)
    np.testing.assert_array_equal(opensora_vae.posterior(moments, None), moments[..., :4])


def test_a_key_samples_the_latents(clip):
    mean, first, again, other = (
        encoded(clip, key) for key in (None, *(jax.random.key(n) for n in (1, 1, 2)))
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - mean).max() > 0.01
    assert np.abs(first - other).max() > 0.01


def test_bfloat16_is_close_and_gives_float32(clip):
    latents = encoded(clip, dtype="bfloat16")
    assert latents.dtype == np.float32
    difference = np.abs(latents - encoded(clip))
    print(f"bfloat16: {difference.max():.1e}")
    assert 1e-5 < difference.max() < 0.1


def test_errors_name_the_remedy():
    with pytest.raises(UserError, match="frames=9 make 5 latents, but 4"):
        small().decode(jnp.zeros((1, 4, 4, 6, 4)), 9)
    for change in (dict(dtype="float16"), dict(multiple=3), dict(micro_batch=0)):
        with pytest.raises(UserError, match=next(iter(change))):
            blueprint(dataclasses.replace(SMALL, **change))


def test_devices_encode_and_decode_their_own_rows():
    graphdef, state = nnx.split(small())
    rng = np.random.default_rng(2)
    clips = jnp.asarray(rng.uniform(-1, 1, (4, 5, 8, 12, 3)), jnp.float32)

    def there_and_back(state, clips):
        latents = nnx.merge(graphdef, state).encode(clips)
        return latents, nnx.merge(graphdef, state).decode(latents, clips.shape[1])

    mesh = meshes.mesh(2, 2)
    rows, whole = jax.NamedSharding(mesh, sharding.BATCH), jax.NamedSharding(mesh, jax.P())
    given = (jax.device_put(state, whole), jax.device_put(clips, rows))
    program = jax.jit(sharding.traced_for(mesh, there_and_back)).lower(*given).compile()
    assert "all-gather" not in program.as_text()
    for found, wanted in zip(program(*given), jax.jit(there_and_back)(state, clips), strict=True):
        assert found.sharding.is_equivalent_to(rows, found.ndim)
        np.testing.assert_allclose(found, wanted, atol=1e-5)
