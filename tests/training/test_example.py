"""Made-up batches have the shapes that training's steps are given."""

import jax
import numpy as np
import pytest

from configs import covar
from vidact.encoders.encode import encode
from vidact.encoders.video.codec import OpenSoraCodec, latent_shape
from vidact.errors import UserError
from vidact.training import example


def test_a_published_codec_is_inside_the_step_where_pixels_are_wanted():
    config = covar.get_config("tiny")
    config.train.batch_size = 2
    assert example.codec(config) is None
    assert example.batch(config).as_dict()["latents"].shape == (2, 11, 24, 40, 4)
    batch, codec = example.batch(config, pixels=True).as_dict(), example.codec(config, pixels=True)
    assert isinstance(codec, OpenSoraCodec) and "latents" not in batch
    assert batch["video"].shape == (2, 35, 180, 320, 3) and batch["video"].dtype == np.uint8
    made = jax.eval_shape(lambda *given: encode(*given).latents, codec, batch)
    assert made.shape == (2, *latent_shape(config))
    leaves = jax.tree.leaves(codec.state)
    # For images, for time, and a scale and a shift (specs/opensora.md 3).
    assert sum(leaf.size for leaf in leaves) == 83_653_863 + 309_687_144 + 2 * 4
    assert {str(leaf.dtype) for leaf in leaves} == {"bfloat16", "float32"}


def test_stored_latents_have_no_pixels():
    config = covar.get_config("tiny")
    config.data.encoded = "stored"
    with pytest.raises(UserError, match=r"config\.data\.encoded='stored'"):
        example.batch(config, pixels=True)
