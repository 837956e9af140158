"""Episodes at another rate: what a step means is kept."""

import numpy as np
import pytest

from data_pipelines.data_set import DataSet
from data_pipelines.episode import Keys
from data_pipelines.rates import resample, resampled_length
from data_pipelines.sources.rlds import open_rlds
from tests.data_pipelines import shards
from vidact.errors import UserError


@pytest.fixture
def episode(tmp_path):
    """Nine steps at 20 Hz; frame i is a grey of 8 i, action i is (i, 3)."""
    episodes = [shards.episode(i, steps=9) for i in range(4)]
    return shards.opened(shards.write(tmp_path, episodes)).episode(3)


def greys(episode) -> list[int]:
    return [_grey(picture) for picture in episode.cameras[shards.CAMERA].read(range(len(episode)))]


def _grey(picture: bytes) -> int:
    import simplejpeg

    return int(simplejpeg.decode_jpeg(picture)[0, 0, 0]) // 8


def test_every_fourth_step(episode):
    found = resample(episode, 20.0, 5.0, deltas=(0,))
    assert greys(found) == [0, 4, 8]
    np.testing.assert_array_equal(found.states, episode.states[[0, 4, 8]])
    # Displacements add up: 0+1+2+3, 4+5+6+7, and the last one alone. The target is the last one.
    np.testing.assert_array_equal(found.actions, [[6, 3], [22, 3], [8, 3]])


def test_a_target_is_the_one_in_force_when_the_next_frame_is_reached(episode):
    found = resample(episode, 20.0, 5.0, deltas=())
    np.testing.assert_array_equal(found.actions[:, 0], [3, 7, 8])


def test_rates_that_do_not_divide(episode):
    found = resample(episode, 20.0, 8.0, deltas=(0,))
    # Steps 0, 2.5, 5, 7.5: the frame is the last one by then.
    assert greys(found) == [0, 2, 5, 7]
    np.testing.assert_allclose(found.actions[:, 0], [0 + 1 + 1, 1 + 3 + 4, 5 + 6 + 3.5, 3.5 + 8])


def test_a_slower_data_set_repeats_frames_and_divides_displacements(episode):
    found = resample(episode, 20.0, 40.0, deltas=(0,))
    assert greys(found) == [i // 2 for i in range(17)]
    np.testing.assert_allclose(found.actions[:4], [[0, 3], [0, 3], [0.5, 3], [0.5, 3]])
    np.testing.assert_allclose(found.actions[:16, 0].sum(), episode.actions[:8, 0].sum())


def test_displacements_that_add_up_to_more_than_float32_holds(episode):
    episode.actions[4:, 0] = 2e38
    with pytest.raises(
        UserError, match=r"displacements at step 1, .* is 7\.9999\d*e\+38, more than float32"
    ):
        resample(episode, 20.0, 5.0, deltas=(0,))


@pytest.mark.parametrize("wanted", [3.0, 5.0, 15.0, 20.0, 60.0])
def test_lengths_are_known_beforehand(episode, wanted):
    assert resampled_length(9, 20.0, wanted) == len(resample(episode, 20.0, wanted, ()))
    assert resampled_length(0, 20.0, wanted) == 0


@pytest.mark.parametrize("wanted", [5000.0, 401.0, -1.0, float("nan")])
def test_a_rate_that_would_repeat_frames_without_end(tmp_path, wanted):
    root = shards.write(tmp_path, [shards.episode(0, steps=9)])
    (root / "metadata.json").write_text('{"fps": 4.0}')
    with pytest.raises(UserError, match=rf"config\.data\.fps={wanted:g}: .* has 4 steps a second"):
        DataSet(open_rlds(str(root)), Keys(cameras={}, deltas=()), wanted)


def test_a_data_set_at_another_rate_must_say_what_its_actions_are(tmp_path):
    root = shards.write(tmp_path, [shards.episode(0, steps=9)])
    with pytest.raises(
        UserError, match=r"has 20\.0 steps a second, config.data.fps=5\.0: set that"
    ):
        shards.opened(root, fps=5.0)
