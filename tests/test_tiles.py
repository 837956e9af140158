"""Where the tiles of a frame lie, and which settings have none."""

import numpy as np
import pytest

from vidact import tiles
from vidact.errors import UserError


def test_one_tile_is_the_frame():
    assert tiles.boxes((64, 48), (1, 1)) == [(slice(0, 64), slice(0, 48))]


def test_tiles_cover_the_frame_once_in_reading_order():
    frame = np.full((4, 9, 3), -1)
    for number, box in enumerate(tiles.boxes((4, 9), (2, 3))):
        assert frame[box].shape == (2, 3, 3) and (frame[box] == -1).all()
        frame[box] = number
    np.testing.assert_array_equal(frame[::2, ::3, 0], [[0, 1, 2], [3, 4, 5]])
    assert (frame >= 0).all()


@pytest.mark.parametrize("wrong", [(3, 2), (2, 3), (0, 1), (1, -1), (2,), (1, 1, 1)])
def test_what_does_not_cut_the_frame_is_refused(wrong):
    with pytest.raises(UserError, match=r"config\.data\.tiles=.* divide .*resolution=\(4, 4\)"):
        tiles.boxes((4, 4), wrong)


def test_each_camera_is_named_once_and_has_a_tile():
    tiles.check(("a", "b", "c"), (4, 4), (2, 2))
    with pytest.raises(UserError, match=r"tiles=\(1, 2\): 3 cameras for 2 tiles; choose more"):
        tiles.check(("a", "b", "c"), (4, 4), (1, 2))
    with pytest.raises(UserError, match=r"further_image_keys=\('b', 'b'\): b is named twice; "):
        tiles.check(("a", "b", "b"), (4, 4), (2, 2))
