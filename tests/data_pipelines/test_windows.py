"""Which windows there are, what padding looks like, and which episodes are held out."""

import numpy as np
import pytest

from data_pipelines import windows
from tests.data_pipelines import shards
from vidact import tiles
from vidact.errors import UserError

WHOLE = tiles.boxes((16, 16), (1, 1))


def test_every_start_with_an_action_left():
    every = windows.AllWindows(np.array([4, 7, 9]), np.array([3, 1, 2]))
    found = every.all()
    assert [every.before(count) for count in range(4)] == [0, 2, 2, 3]
    np.testing.assert_array_equal(found.episodes, [4, 4, 9])
    np.testing.assert_array_equal(found.starts, [0, 1, 0])
    assert len(found) == 3


@pytest.mark.parametrize("count", [2, 3, 20, 25, 600])
@pytest.mark.parametrize("held_out", [0.05, 0.25, 0.9, 1.0])
def test_split_is_disjoint_complete_and_of_the_stated_size(count, held_out):
    train, held = windows.split_episodes(count, held_out)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, held])), np.arange(count))
    wanted = held_out * count if held_out < 1 else held_out
    assert len(held) == min(max(round(wanted), 1), count - 1)
    again = windows.split_episodes(count, held_out)
    np.testing.assert_array_equal(again[1], held)


def test_data_sorted_by_task_gives_every_task_its_share():
    _, held = windows.split_episodes(600, 0.05)
    tasks, counts = np.unique(held // 200, return_counts=True)
    np.testing.assert_array_equal(tasks, [0, 1, 2])
    np.testing.assert_array_equal(counts, [10, 10, 10])
    # Nor do tasks that take turns lose theirs.
    assert len(np.unique(held % 3)) == 3


def test_no_held_out_episodes_where_there_are_none_to_spare():
    assert len(windows.split_episodes(1, 0.05)[1]) == 0
    assert len(windows.split_episodes(20, 0.0)[1]) == 0
    for held_out in (-0.1, 20.0):
        with pytest.raises(UserError, match=r"config.data.held_out"):
            windows.split_episodes(20, held_out)


@pytest.fixture
def source(tmp_path):
    """One episode of six steps; frame i is a grey of 8 i, action i is (i, 0)."""
    root = shards.write(tmp_path, [shards.episode(0, steps=6)])
    return shards.episodes(root)


def test_a_window_inside_the_episode(source):
    video = np.empty((4, 16, 16, 3), np.uint8)
    windows.fill_video(source, 0, 1, video, WHOLE)
    mask = windows.frame_mask(source.episode(0), 1, len(video))
    assert mask.all()
    np.testing.assert_array_equal(video[:, 0, 0, 0], [8, 16, 24, 32])
    actions, action_mask = windows.window_actions(source.episode(0), 1, 3)
    assert action_mask.all()
    np.testing.assert_array_equal(actions[:, 0], [1, 2, 3])


def test_a_window_over_the_end_repeats_the_last_frame_and_masks(source):
    video = np.empty((4, 16, 16, 3), np.uint8)
    windows.fill_video(source, 0, 4, video, WHOLE)
    mask = windows.frame_mask(source.episode(0), 4, len(video))
    np.testing.assert_array_equal(mask, [True, True, False, False])
    np.testing.assert_array_equal(video[:, 0, 0, 0], [32, 40, 40, 40])
    actions, action_mask = windows.window_actions(source.episode(0), 4, 3)
    # Action 4 leads to the last frame; action 5 leads nowhere.
    np.testing.assert_array_equal(actions[:, 0], [4, 0, 0])
    np.testing.assert_array_equal(action_mask[:, 0], [True, False, False])


def test_cameras_fill_their_tiles_and_the_rest_is_black(tmp_path):
    root = shards.write(tmp_path, [shards.with_wrist(shards.episode(0, steps=6))])
    source = shards.episodes(root, shards.WRIST, shards.CAMERA)
    assert source.data_sets[0].image_shapes == {shards.WRIST: (24, 24), shards.CAMERA: (16, 16)}
    for _ in range(2):  # decoded, then kept
        video = np.full((4, 16, 48, 3), 9, np.uint8)
        windows.fill_video(source, 0, 3, video, tiles.boxes((16, 48), (1, 3)))
        greys = np.array([24, 32, 40, 40])[:, None, None, None]
        assert (video[:, :, :16] == 100 + greys).all()
        assert (video[:, :, 16:32] == greys).all()
        assert not video[:, :, 32:].any()
