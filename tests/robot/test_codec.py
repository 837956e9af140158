"""The robot's codec computes what the training side's computes."""

import numpy as np
import pytest
import torch

from tests.robot import build
from vidact.robot.codec import LinearCodec


@pytest.fixture(scope="module")
def codecs():
    ours = build.codec()
    theirs = LinearCodec(32, 32, ours.patch, ours.frames, ours.channels)
    arrays = {name: build.tensor(getattr(ours, name)) for name in theirs.state_dict()}
    theirs.load_state_dict(arrays, strict=True)
    return ours, theirs


@pytest.mark.parametrize("frames", [1, 5, 9])
def test_encoding_and_decoding_agree(codecs, frames):
    ours, theirs = codecs
    video = np.random.default_rng(0).integers(0, 256, (2, frames, 32, 32, 3), np.uint8)
    latents = ours.encode(video)
    found = theirs.encode(torch.from_numpy(video))
    assert build.largest(found, latents) < 1e-5
    assert build.largest(theirs.decode(found), ours.decode(latents)) < 1e-5
