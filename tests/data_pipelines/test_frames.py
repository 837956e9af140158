"""Decoding frames."""

import dataclasses
import io

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from data_pipelines import frames
from data_pipelines.sources.recording import StoredFrames
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


def test_shrinking_takes_the_mean_over_areas(pixels):
    out = np.zeros((12, 16, 3), np.uint8)
    frames.decode(pixels, out)
    want = pixels.astype(float).reshape(12, 2, 16, 2, 3).mean((1, 3))
    np.testing.assert_allclose(out, want, atol=0.51)


def test_growing_is_bilinear():
    ramp = np.repeat(np.arange(0, 160, 10, dtype=np.uint8)[None, :, None], 8, 0).repeat(3, 2)
    out = np.zeros((8, 32, 3), np.uint8)
    frames.decode(ramp, out)
    # Pixel centres: column j of the new frame lies at (j + 0.5) / 2 - 0.5 of the old one.
    want = np.clip((np.arange(32) + 0.5) / 2 - 0.5, 0, 15) * 10
    np.testing.assert_allclose(out[3, :, 1], want, atol=0.51)


def test_ways_to_fit(pixels):
    """A frame of 24 x 32 becomes a square of 24: its middle, or all of it between black bars."""
    crop, pad = np.zeros((24, 24, 3), np.uint8), np.full((24, 24, 3), 9, np.uint8)
    frames.decode(pixels, crop, placement=frames.Placement("crop"))
    np.testing.assert_array_equal(crop, pixels[:, 4:28])
    frames.decode(pixels, pad, placement=frames.Placement("pad"))
    assert not pad[:3].any() and not pad[21:].any()
    whole = np.zeros((18, 24, 3), np.uint8)
    frames.decode(pixels, whole)
    np.testing.assert_array_equal(pad[3:21], whole)


def test_frames_with_their_lowest_row_first(pixels):
    for shape in ((24, 32, 3), (12, 16, 3)):
        upright, turned = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
        frames.decode(pixels, upright)
        frames.decode(pixels[::-1], turned, placement=frames.Placement(turned=True))
        np.testing.assert_array_equal(turned, upright)
    encoded, out = simplejpeg.encode_jpeg(pixels, quality=95), np.zeros((24, 32, 3), np.uint8)
    frames.decode(encoded, out, placement=frames.Placement(turned=True))
    np.testing.assert_array_equal(out, simplejpeg.decode_jpeg(encoded)[::-1])


def test_a_part_of_the_frame(pixels):
    half = np.zeros((12, 16, 3), np.uint8)
    frames.decode(pixels, half, placement=frames.Placement("stretch", 0.5, left=1.0, top=0.0))
    np.testing.assert_array_equal(half, pixels[:12, 16:])


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
    return shards.opened(shards.write(tmp_path, [shards.episode(0, steps=6)])).episode(0)


def test_frame_of_another_size_than_stated(episode):
    out = np.empty((1, 16, 16, 3), np.uint8)
    with pytest.raises(
        UserError, match=r"record 0: observation/image at step 1: is 16x16 .* states 32x32"
    ):
        frames.read(episode, shards.CAMERA, 1, [0], out, (32, 32))
    frames.read(episode, shards.CAMERA, 1, [0], out, (None, None))
    assert out[0, 0, 0, 0] == 8


@pytest.mark.parametrize("size", [(12, 16), (48, 64), (16, 12)])
def test_file_of_another_size_where_frames_go_in_place(pixels, size):
    """Stated and wanted agree; the file is smaller, larger, or of as many pixels."""
    out = np.zeros((*size, 3), np.uint8)
    encoded = simplejpeg.encode_jpeg(pixels, quality=95)
    with pytest.raises(ValueError, match=f"is 24x32 where the data set states {size[0]}x{size[1]}"):
        frames.decode(encoded, out, size)
    frames.decode(encoded, np.zeros_like(pixels), (24, 32))


def test_sizes_may_take_turns(pixels):
    """Resized frames of several sizes, one after the other, as each alone."""
    large = np.repeat(np.repeat(pixels, 2, 0), 2, 1)
    files = [simplejpeg.encode_jpeg(p, quality=95) for p in (pixels, large)]
    for number in (0, 1, 0, 1):
        out, want = np.zeros((2, 10, 14, 3), np.uint8)
        frames.decode(files[number], out)
        frames.decode(simplejpeg.decode_jpeg(files[number]), want)
        np.testing.assert_array_equal(out, want)


def test_damaged_frame_names_file_record_and_step(episode):
    images = list(episode.cameras[shards.CAMERA].read(range(6)))
    images[2] = images[2][:40]
    damaged = dataclasses.replace(episode, cameras={shards.CAMERA: StoredFrames(images)})
    out = np.empty((1, 16, 16, 3), np.uint8)
    with pytest.raises(
        UserError,
        match="record 0: observation/image at step 2: cannot be decoded",
    ):
        frames.read(damaged, shards.CAMERA, 2, [0], out, (16, 16))
