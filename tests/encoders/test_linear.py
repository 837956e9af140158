"""The linear codec: orthonormal, causal, exact at full rank."""

import jax.numpy as jnp
import numpy as np
import pytest

from vidact.encoders.video import linear
from vidact.errors import UserError


@pytest.fixture(scope="module")
def clips() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (40, 5, 8, 8, 3), dtype=np.uint8)


def test_whole_clips_come_back_at_full_rank(clips):
    codec = linear.fit(clips, patch=4, frames=1, channels=48)
    restored = linear.to_uint8(codec.decode(codec.encode(clips)))
    np.testing.assert_array_equal(restored, clips)


def test_bases_are_orthonormal(clips):
    codec = linear.fit(clips, patch=4, frames=2, channels=10)
    for basis in (codec.first_basis, codec.later_basis):
        np.testing.assert_allclose(basis.T @ basis, np.eye(10), atol=1e-5)
    latents = np.asarray(codec.encode(clips))
    assert latents.shape == (40, 3, 2, 2, 10)
    np.testing.assert_allclose(np.square(latents[:, 0]).mean((0, 1, 2)), 1, atol=1e-3)


def test_no_latent_sees_the_future(clips):
    codec = linear.fit(clips, patch=4, frames=2, channels=10)
    before = codec.encode(clips)
    changed = clips.copy()
    changed[:, 3:] = 255 - changed[:, 3:]
    after = codec.encode(changed)
    np.testing.assert_array_equal(before[:, :2], after[:, :2])
    assert not np.allclose(before[:, 2], after[:, 2])
    np.testing.assert_allclose(before[:, :1], codec.encode(clips[:, :1]), atol=1e-6)


def test_files_read_back_and_broken_ones_are_named(clips, tmp_path):
    codec = linear.fit(clips, patch=4, frames=2, channels=10)
    linear.save(codec, tmp_path / "codec.safetensors")
    assert (tmp_path / "codec.safetensors").stat().st_mode & 0o044 == 0o044  # others read it
    other = linear.load(tmp_path / "codec.safetensors")
    np.testing.assert_array_equal(codec.later_basis, other.later_basis)
    assert (other.patch, other.frames) == (4, 2)
    (tmp_path / "broken").write_bytes(b"no tensors")
    with pytest.raises(UserError, match="not a video codec"):
        linear.load(tmp_path / "broken")


def test_a_blind_codec_sees_nothing(clips):
    codec = linear.blinded(linear.fit(clips, patch=4, frames=2, channels=10))
    assert not jnp.any(codec.encode(clips))
