"""From a batch to inputs: the masks of latents, and the first frame alone."""

import numpy as np
import pytest

from data_pipelines import pipeline
from tests import tiny
from vidact.encoders import encode
from vidact.encoders.video import linear


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    """Windows of 9 frames of episodes that have 12: some run over the end."""
    config = tiny.config(tiny.write_data(tmp_path_factory.mktemp("encode")), data__frames=9)
    return pipeline.make_dataset(config.data, seed=0, batch_size=16).batch_at(0)


@pytest.fixture(scope="module")
def codec(batch):
    return linear.fit(batch.video, patch=4, frames=4, channels=6)


def test_a_latent_is_real_if_all_its_frames_are(batch, codec):
    inputs = encode.encode(codec, batch.as_dict())
    assert inputs.latents.shape == (16, 3, 4, 4, 6)
    lengths = batch.frame_mask.sum(1)
    assert lengths.min() < 5 < 9 == lengths.max()
    expected = np.stack([lengths >= 1, lengths >= 5, lengths >= 9], axis=1)
    np.testing.assert_array_equal(inputs.latent_mask, expected)


def test_the_condition_is_the_first_frame_alone(batch, codec):
    inputs = encode.encode(codec, batch.as_dict())
    np.testing.assert_allclose(inputs.condition, codec.encode(batch.video[:, :1]), atol=1e-6)
    seen = encode.observation(
        codec, batch.video[:, 0], batch.state, batch.text, batch.text_mask, batch.fps
    )
    np.testing.assert_allclose(seen.condition, inputs.condition, atol=1e-6)
    for name in ("state", "text", "text_mask", "fps"):
        np.testing.assert_array_equal(getattr(seen, name), getattr(batch, name))
    assert seen.latents is None and seen.actions is None
