"""Batches of several shapes, frames of history, and which window lies where."""

import itertools

import numpy as np
import pytest

from data_pipelines import buckets, pipeline
from tests.data_pipelines import shards
from vidact.errors import UserError


@pytest.fixture
def root(tmp_path):
    """Twelve square episodes: six of 4 steps, six of 11."""
    return shards.write(tmp_path, [shards.episode(i, steps=4 if i < 6 else 11) for i in range(12)])


def make(root, batch_size=8, **data):
    config = shards.config(root, held_out=0.0, **data)
    return pipeline.make_dataset(config, seed=3, batch_size=batch_size)


SHAPES = ((4, 16, 16), (8, 16, 16), (4, 16, 32))


def test_episodes_go_where_they_fill_and_keep_their_aspect(root):
    dataset = make(root, buckets=SHAPES)
    assert [bucket[0] for bucket in dataset.buckets] == [4, 8]  # nothing is as wide as the third
    shapes = {}
    for step in range(40):
        batch, drawn = dataset.batch_at(step), dataset.order[step]
        shapes.setdefault(batch.pixels.shape, []).append(len(drawn.indices))
        steps = [
            len(dataset.source.episode(int(i))) for i in dataset.windows.at(drawn.indices).episodes
        ]
        assert set(steps) == {4 if batch.pixels.shape[1] == 4 else 11}
    # Tokens a batch alike: 8 windows of 4 frames or 4 of 8.
    assert set(shapes) == {(8, 4, 16, 16, 3), (4, 8, 16, 16, 3)}


def test_every_window_has_its_share(root):
    dataset = make(root, buckets=SHAPES)
    drawn = np.concatenate([dataset.indices_at(step) for step in range(400)])
    counts = np.bincount(drawn, minlength=len(dataset))
    assert len(dataset) == 6 * 3 + 6 * 10
    assert counts.min() >= counts.mean() - 2 and counts.max() <= counts.mean() + 2


def test_any_start_gives_the_same_batches(root):
    dataset = make(root, buckets=SHAPES)
    wanted = list(itertools.islice(dataset.from_step(0), 12))
    for start in (0, 5, 11):
        found = next(make(root, buckets=SHAPES).from_step(start))
        np.testing.assert_array_equal(found.pixels, wanted[start].pixels)


def test_frames_of_varying_size_go_by_length():
    made = [buckets.Bucket(4, (16, 16), 8), buckets.Bucket(8, (16, 32), 2)]
    found = buckets.assign(made, (None, None), np.array([2, 4, 7, 8, 100]))
    np.testing.assert_array_equal(found, [0, 0, 0, 1, 1])
    found = buckets.assign(made, (10, 19), np.array([2, 100]))
    np.testing.assert_array_equal(found, [1, 1])


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((4, 16),), r"\(4, 16\): give \(frames, height, width\)"),
        (((1, 16, 16),), r"\(1, 16, 16\): give"),
        (((4, 16, 16), (4, 16, 16)), "a shape comes twice"),
        (((4, 160, 160),), "a batch of 1 has more pixels"),
    ],
)
def test_wrong_buckets(root, shapes, message):
    with pytest.raises(UserError, match=message):
        make(root, buckets=shapes)


def test_history_comes_before_the_first_frame(root):
    dataset = make(root, history=2, frames=3)
    every = dataset.windows.all()
    for start in (0, 1, 5, 9):
        (index,) = np.flatnonzero((every.episodes == 8) & (every.starts == start))
        batch = dataset.load(np.array([index]))
        steps = start - 2 + np.arange(5)
        np.testing.assert_array_equal(batch.frame_mask[0], (steps >= 0) & (steps <= 10))
        greys = 8 * np.clip(steps, 0, 10) + 8
        np.testing.assert_array_equal(batch.pixels[0, :, 0, 0, 0], greys)
        np.testing.assert_array_equal(
            batch.action_mask[0, :, 0], (steps[:4] >= 0) & (steps[:4] <= 9)
        )
        plain = make(root, frames=3).load(np.array([index]))
        np.testing.assert_array_equal(batch.state, plain.state)
