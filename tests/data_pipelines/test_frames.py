"""Decoding frames."""

import io

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from data_pipelines import frames
from data_pipelines.sources.rlds import open_rlds
from tests.data_pipelines import shards
from vidact.errors import UserError


@pytest.fixture
def pixels():
    """A smooth picture, 24 rows of 32."""
    rows, columns = np.mgrid[:24, :32]
    return np.stack([rows * 10, columns * 7, rows + columns], axis=-1).astype(np.uint8)


def test_jpeg_is_decoded_in_place(pixels):
    encoded = simplejpeg.encode_jpeg(pixels, quality=95)
    out = np.zeros_like(pixels)
    frames.decode(encoded, out)
    assert frames.size(encoded) == (24, 32)
    np.testing.assert_array_equal(out, simplejpeg.decode_jpeg(encoded))
    assert np.abs(out.astype(int) - pixels).mean() < 3


def test_a_part_of_a_larger_frame_is_filled_alike(pixels):
    encoded = simplejpeg.encode_jpeg(pixels, quality=95)
    for height, width in ((24, 32), (12, 16)):
        alone = np.zeros((height, width, 3), np.uint8)
        frames.decode(encoded, alone)
        larger = np.zeros((height + 2, width + 3, 3), np.uint8)
        frames.decode(encoded, larger[1:-1, 1:-2])
        np.testing.assert_array_equal(larger[1:-1, 1:-2], alone)
        larger[1:-1, 1:-2] = 0
        assert not larger.any()


def test_png_is_exact(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    out = np.zeros_like(pixels)
    frames.decode(file.getvalue(), out)
    assert frames.size(file.getvalue()) == (24, 32)
    np.testing.assert_array_equal(out, pixels)


def test_resizing_is_bilinear(pixels):
    encoded = simplejpeg.encode_jpeg(pixels, quality=95)
    out = np.zeros((12, 16, 3), np.uint8)
    frames.decode(encoded, out)
    assert frames.size(encoded) == (24, 32)
    want = Image.fromarray(simplejpeg.decode_jpeg(encoded)).resize(
        (16, 12), Image.Resampling.BILINEAR
    )
    np.testing.assert_array_equal(out, np.asarray(want))


@pytest.mark.parametrize("encoded", [b"", b"GIF89a", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_refused(encoded):
    with pytest.raises(ValueError, match="JPEG"):
        frames.decode(encoded, np.zeros((4, 4, 3), np.uint8))


def test_truncated_jpeg_is_refused(pixels):
    encoded = simplejpeg.encode_jpeg(pixels, quality=95)
    with pytest.raises(ValueError, match="JPEG"):
        frames.decode(encoded[:-40], np.zeros_like(pixels))


@pytest.fixture
def episode(tmp_path):
    """Six steps of 16x16 frames."""
    return open_rlds(str(shards.write(tmp_path, [shards.episode(0, steps=6)]))).episode(0)


def test_frame_of_another_size_than_stated(episode):
    out = np.empty((16, 16, 3), np.uint8)
    with pytest.raises(
        UserError, match=r"record 0: observation/image at step 1: is 16x16 .* states 32x32"
    ):
        frames.read(episode, shards.CAMERA, 1, out, (32, 32))
    frames.read(episode, shards.CAMERA, 1, out, (None, None))
    assert out[0, 0, 0] == 8


def test_damaged_frame_names_file_record_and_step(episode):
    images = episode.cameras[shards.CAMERA]
    images[2] = images[2][:40]
    out = np.empty((16, 16, 3), np.uint8)
    with pytest.raises(UserError, match="record 0: observation/image at step 2: cannot be decoded"):
        frames.read(episode, shards.CAMERA, 2, out, (16, 16))
