"""Batch k is a pure function of (seed, k): on any number of processes, from any start."""

import itertools

import numpy as np
import pytest

from data_pipelines import pipeline
from tests.data_pipelines import shards
from vidact import actions, text
from vidact.errors import UserError


@pytest.fixture
def root(tmp_path):
    """Eight episodes of 3 to 10 steps."""
    episodes = [shards.episode(i, steps=3 + i) for i in range(8)]
    return shards.write(tmp_path, episodes)


def same(one, other) -> bool:
    pairs = zip(one.as_dict().values(), other.as_dict().values(), strict=True)
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


def make(root, *, data=None, **arguments):
    arguments = {"seed": 3, "batch_size": 4, **arguments}
    return pipeline.make_dataset(shards.config(root, **(data or {})), **arguments)


def test_types_and_shapes(root):
    batch = make(root).batch_at(0)
    found = {name: (array.dtype.name, array.shape) for name, array in batch.as_dict().items()}
    assert found == {
        "video": ("uint8", (4, 4, 16, 16, 3)),
        "actions": ("float32", (4, 3, 2)),
        "action_mask": ("bool", (4, 3, 2)),
        "frame_mask": ("bool", (4, 4)),
        "state": ("float32", (4, 3)),
        "text": ("int32", (4, 4)),
        "text_mask": ("bool", (4, 4)),
        "fps": ("float32", (4,)),
        "embodiment_id": ("int32", (4,)),
        "dataset_id": ("int32", (4,)),
    }


def test_content_of_a_window(root):
    dataset = make(root)
    number = int(dataset.windows.all().episodes[-2])  # the two last windows of the longest episode
    start = int(dataset.windows.all().starts[-2])
    assert start == len(dataset.source.episode(number)) - 3
    batch = dataset.load(np.array([len(dataset) - 2]))
    greys = np.array([start, start + 1, start + 2, start + 2]) * 8 + number
    np.testing.assert_array_equal(batch.video[0, :, 0, 0, 0], greys)
    np.testing.assert_array_equal(batch.frame_mask[0], [True, True, True, False])
    np.testing.assert_array_equal(batch.action_mask[0, :, 0], [True, True, False])
    raw = actions.denormalise(batch.actions[0], dataset.statistics[0]["action"])
    neutral = np.zeros((1, 2), np.float32)
    np.testing.assert_allclose(raw[:, 0], [start, start + 1, 0], atol=1e-5)
    np.testing.assert_array_equal(
        batch.actions[0, 2:], actions.normalise(neutral, dataset.statistics[0]["action"])
    )
    state = actions.denormalise(batch.state, dataset.statistics[0]["state"])
    np.testing.assert_allclose(state[0], start + number + np.arange(3) / 10, atol=1e-5)
    np.testing.assert_array_equal(batch.text, text.tokenize([f"do task {number}"], 4, 64)[0])
    assert batch.fps[0] == 20.0


def test_any_start_gives_the_same_batches(root):
    dataset = make(root)
    wanted = list(itertools.islice(dataset.from_step(0), 25))  # several epochs
    for step in (0, 1, 7, 24):
        assert same(dataset.batch_at(step), wanted[step])
        assert same(next(dataset.from_step(step)), wanted[step])
    resumed = list(itertools.islice(make(root).from_step(10), 15))
    assert all(map(same, resumed, wanted[10:]))


@pytest.mark.parametrize("processes", [1, 2, 4])
@pytest.mark.parametrize("threads", [1, 3])
def test_processes_and_threads_do_not_matter(root, processes, threads):
    whole = make(root)
    parts = [
        make(root, data={"threads": threads}, process_index=i, process_count=processes)
        for i in range(processes)
    ]
    streams = [part.from_step(0) for part in parts]
    for step in range(6):
        blocks = [next(stream).as_dict() for stream in streams]
        for name, array in whole.batch_at(step).as_dict().items():
            joined = np.concatenate([block[name] for block in blocks])
            np.testing.assert_array_equal(joined, array)


def test_an_epoch_visits_each_window_once_and_the_next_in_another_order(root):
    dataset = make(root, batch_size=1)
    count = len(dataset)
    epochs = [
        [int(dataset.indices_at(epoch * count + i)[0]) for i in range(count)] for epoch in range(2)
    ]
    for epoch in epochs:
        assert sorted(epoch) == list(range(count))
    assert epochs[0] != epochs[1]
    other = make(root, batch_size=1, seed=4)
    assert epochs[0] != [int(other.indices_at(i)[0]) for i in range(count)]


def test_without_a_cache_the_same(root):
    cached, bare = make(root), make(root, data={"cache_mb": 0})
    assert same(cached.batch_at(5), bare.batch_at(5))
    assert bare.source.nbytes == 0 < cached.source.nbytes


def test_held_out_episodes_are_apart_and_share_statistics(root):
    train = make(root)
    held = make(root, split="held_out", statistics=train.statistics, source=train.source)
    assert not set(train.windows.all().episodes) & set(held.windows.all().episodes)
    assert len(set(train.windows.all().episodes)) + len(set(held.windows.all().episodes)) == 8
    own = make(root, split="held_out")
    assert same(own.batch_at(0), held.batch_at(0))


def test_resized_frames(root):
    batch = make(root, data={"resolution": (8, 12)}).batch_at(0)
    assert batch.video.shape == (4, 4, 8, 12, 3)


def test_bad_episode_stops_the_iteration_with_its_name(tmp_path):
    episodes = [shards.episode(i) for i in range(4)]
    image = episodes[2]["steps"][3]["observation"]["image"]
    image.truncate(len(image.getvalue()) // 2)
    root = shards.write(tmp_path, episodes)
    stream = make(root, data={"held_out": 0.0}).from_step(0)
    with pytest.raises(UserError, match="record 2: observation/image at step 3: cannot be decoded"):
        list(itertools.islice(stream, 10))


@pytest.mark.parametrize(
    ("data", "arguments", "message"),
    [
        ({"fps": 5.0}, {}, r"has 20\.0 steps a second, config.data.fps=5\.0: set that, or say in"),
        ({"frames": 1}, {}, "config.data.frames=1"),
        ({"held_out": 0.0}, {"split": "held_out"}, "give no window"),
        ({}, {"split": "test"}, "'test': unknown; choose from train, held_out"),
        ({}, {"batch_size": 6, "process_count": 4}, "batch size 6: not a positive multiple"),
        ({"normalisation": "none"}, {}, "'none': unknown"),
        (
            {"tiles": (3, 1)},
            {},
            r"config.data.tiles=\(3, 1\): must be two whole numbers that divide",
        ),
        ({"tiles": (1, 0)}, {}, r"config.data.tiles=\(1, 0\): must"),
        ({"tiles": (2,)}, {}, r"config.data.tiles=\(2,\): must"),
        ({"further_image_keys": ("b",)}, {}, r"config.data.tiles=\(1, 1\): 2 cameras for 1 tiles"),
        (
            {"further_image_keys": (shards.CAMERA,), "tiles": (1, 2)},
            {},
            "config.data.further_image_keys=.*: observation/image is named twice; name",
        ),
        ({"further_image_keys": ("b",), "tiles": (1, 2)}, {}, "no b in a step; set the key"),
    ],
)
def test_wrong_configuration(root, data, arguments, message):
    with pytest.raises(UserError, match=message):
        make(root, data=data, **arguments).batch_at(0)


def test_real_bridge(shared):
    data = {"image_key": "observation/image_0", "resolution": (64, 64), "frames": 9, "fps": 5.0}
    dataset = make(shared / "data" / "bridge_dataset", data=data, batch_size=8)
    batch = next(dataset.from_step(0))
    assert batch.video.shape == (8, 9, 64, 64, 3)
    assert batch.video.std() > 20
    assert batch.text_mask.any(1).all()
    assert np.abs(batch.actions[batch.action_mask]).max() < 3
    np.testing.assert_array_equal(batch.frame_mask[:, 1:], batch.action_mask[..., 0])


def test_real_cameras_are_tiled_as_each_is_decoded_alone(shared):
    keys = tuple(f"observation/image_{i}" for i in range(4))
    root, more = shared / "data" / "bridge_dataset", {"frames": 9, "fps": 5.0}

    def video(key, further, resolution, tiles):
        data = {"image_key": key, "further_image_keys": further, "tiles": tiles}
        dataset = make(root, data={**more, **data, "resolution": resolution}, batch_size=8)
        return dataset.batch_at(0).video

    for side in (64, 48):  # as stored, and resized
        first, second, third, black = (video(k, (), (side, side), (1, 1)) for k in keys)
        assert first.std() > 20 and second.std() > 20 and third.std() > 20 and not black.any()
        nothing = np.zeros_like(first)
        found = video(keys[0], keys[1:3], (2 * side, 2 * side), (2, 2))
        rows = [(first, second), (third, nothing)]
        wanted = np.concatenate([np.concatenate(row, axis=3) for row in rows], axis=2)
        np.testing.assert_array_equal(found, wanted)
        found = video(keys[2], (keys[0],), (2 * side, side), (2, 1))
        np.testing.assert_array_equal(found, np.concatenate([third, first], axis=2))


def test_augmenting_by_nothing_changes_nothing(root):
    dataset, brighter = make(root), make(root)
    drawn = dataset.batch_at(5)
    assert same(drawn, dataset.load(dataset.indices_at(5)))
    brighter.config.augment.brightness = 0.4
    assert not same(drawn, brighter.batch_at(5))
