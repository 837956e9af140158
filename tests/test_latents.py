"""Which frames a latent covers, against the two codecs themselves."""

import numpy as np
import pytest

from vidact import latents
from vidact.encoders.video.opensora_vae import FULL


def test_one_chunk_is_the_first_frame_alone_and_then_groups():
    np.testing.assert_array_equal(latents.spans(9, 4), [[0, 0], [1, 4], [5, 8]])
    np.testing.assert_array_equal(latents.spans(1, 4), [[0, 0]])


def test_the_paper_s_35_frames_are_two_chunks_of_17_and_one_frame():
    found = latents.spans(35, 4, 17)
    assert found.shape == (11, 2)
    np.testing.assert_array_equal(found[:5], [[0, 0], [1, 4], [5, 8], [9, 12], [13, 16]])
    np.testing.assert_array_equal(found[5:10], found[:5] + 17)
    np.testing.assert_array_equal(found[10], [34, 34])


@pytest.mark.parametrize("frames", [1, 2, 5, 16, 17, 18, 24, 34, 35, 51])
def test_open_sora_makes_as_many_and_no_frame_is_lost(frames):
    found = latents.spans(frames, FULL.temporal.factor, FULL.chunk)
    assert len(found) == FULL.latents(frames)
    covered = np.concatenate([np.arange(first, last + 1) for first, last in found])
    np.testing.assert_array_equal(covered, np.arange(frames))
