"""What is kept stays within its bytes and changes nothing that is read."""

import numpy as np
import pytest

from data_pipelines.episodes import Episodes
from tests.data_pipelines import shards


@pytest.fixture
def source(tmp_path):
    """Ten episodes of 3 to 12 steps."""
    return shards.opened(shards.write(tmp_path, [shards.episode(i, 3 + i) for i in range(10)]))


def frame(source, index, step, size=16, camera=shards.CAMERA):
    out = np.zeros((1, size, size, 3), np.uint8)
    source.read_frames(index, camera, step, out)
    return out[0]


def test_what_fits_is_read_once(source):
    cached = Episodes([source], 2**20)
    assert len(cached) == 10
    assert cached.episode(7) is cached.episode(7)
    first = frame(cached, 7, 2)
    assert (first == 8 * 2 + 7).all()
    first[:] = 0  # the caller's array is its own
    assert (frame(cached, 7, 2) == 8 * 2 + 7).all()


def test_the_same_within_any_room(source):
    for room in (0, 3000, 10_000, 2**20):
        cached = Episodes([source], room)
        for _ in range(2):
            for index in range(10):
                want = source.episode(index).actions
                np.testing.assert_array_equal(cached.episode(index).actions, want)
                assert (frame(cached, index, 1) == 8 + index).all()
                assert cached.nbytes <= room
        assert (cached.nbytes > 0) == (room > 0)


def test_frames_are_kept_by_size(source):
    cached = Episodes([source], 2**20)
    assert frame(cached, 0, 0).shape == (16, 16, 3)
    assert (frame(cached, 0, 1, size=8) == 8).all()
    assert (frame(cached, 0, 1) == 8).all()


def test_frames_are_kept_by_camera(tmp_path):
    root = shards.write(tmp_path, [shards.with_wrist(shards.episode(3))])
    source = shards.opened(root, shards.CAMERA, shards.WRIST)
    cached = Episodes([source], 2**20)
    for _ in range(2):
        assert (frame(cached, 0, 2) == 8 * 2 + 3).all()
        assert (frame(cached, 0, 2, camera=shards.WRIST) == 100 + 8 * 2 + 3).all()
    episode = cached.episode(0)
    stored = sum(len(f) for frames in episode.cameras.values() for f in frames.read(range(6)))
    assert episode.nbytes == stored + episode.states.nbytes + episode.actions.nbytes
    assert cached.nbytes == episode.nbytes + 2 * 16 * 16 * 3
