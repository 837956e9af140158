"""What cannot be read stops the run, or is replaced in a stated way; no other position moves."""

import numpy as np
import pytest

from data_pipelines import pipeline
from tests.data_pipelines import shards
from vidact.errors import UserError


def write(folder, damaged: bool):
    """Six episodes; in the third, frame 3 may be cut short."""
    episodes = [shards.episode(i) for i in range(6)]
    if damaged:
        image = episodes[2]["steps"][3]["observation"]["image"]
        image.truncate(len(image.getvalue()) // 2)
    return shards.write(folder, episodes)


def make(root, policy="skip", **arguments):
    config = shards.config(root, on_bad_record=policy, held_out=0.0)
    return pipeline.make_dataset(config, seed=3, batch_size=4, **arguments)


def test_a_substitute_takes_the_place_and_nothing_else_moves(tmp_path):
    sound = make(write(tmp_path / "sound", damaged=False))
    hurt = make(write(tmp_path / "hurt", damaged=True))
    listed = tmp_path / "bad_records.txt"
    hurt.bad.write_to(listed)
    assert len(sound) == len(hurt) == 30
    replaced = 0
    for step in range(8):  # a little more than one epoch
        np.testing.assert_array_equal(sound.indices_at(step), hurt.indices_at(step))
        one, other = sound.batch_at(step), hurt.batch_at(step)
        for row, index in enumerate(sound.indices_at(step)):
            window = sound.windows.at(np.array([index]))
            bad = window.episodes[0] == 2 and window.starts[0] <= 3
            same = np.array_equal(one.pixels[row], other.pixels[row])
            assert same == (not bad), (step, row)
            replaced += int(bad)
    assert hurt.bad.substituted == replaced > 0
    (line,) = listed.read_text().splitlines()
    assert "record 2: observation/image at step 3: cannot be decoded" in line
    # Of the same data set, and the same on any number of processes and from any start.
    parts = [make(tmp_path / "hurt" / "toy", process_index=i, process_count=2) for i in range(2)]
    for step in (5, 0):
        halves = np.concatenate([part.batch_at(step).pixels for part in parts])
        np.testing.assert_array_equal(halves, hurt.batch_at(step).pixels)


def test_only_those_that_can_be_read(tmp_path):
    dataset = make(write(tmp_path, damaged=True))
    asked = np.arange(len(dataset))[::-1]
    windows = dataset.windows.at(asked)
    sound = asked[(windows.episodes != 2) | (windows.starts > 3)]
    batch, read = dataset.load_readable(asked)
    np.testing.assert_array_equal(read, sound)
    wanted = dataset.load(sound).as_dict()
    assert batch is not None and batch.as_dict().keys() == wanted.keys()
    for name, array in batch.as_dict().items():
        np.testing.assert_array_equal(array, wanted[name])
    assert dataset.bad.substituted == 0
    assert ["step 3" in reason for reason in dataset.bad.reasons] == [True]
    nothing, read = dataset.load_readable(np.setdiff1d(asked, sound))
    assert nothing is None and read.shape == (0,)


def test_readable_windows_alone_stop_at_an_error_too(tmp_path):
    dataset = make(write(tmp_path, damaged=True), policy="error")
    with pytest.raises(UserError, match="record 2: observation/image at step 3: cannot be decoded"):
        dataset.load_readable(np.arange(len(dataset)))


def test_an_error_by_default(tmp_path):
    dataset = make(write(tmp_path, damaged=True), policy="error")
    with pytest.raises(UserError, match="record 2: observation/image at step 3: cannot be decoded"):
        list(map(dataset.batch_at, range(8)))


def test_an_episode_whose_numbers_are_bad_has_no_windows(tmp_path):
    episodes = [shards.episode(i) for i in range(6)]
    episodes[4]["steps"][0]["action"][0] = np.nan
    dataset = make(shards.write(tmp_path, episodes))
    assert len(dataset) == 25 and 4 not in dataset.windows.all().episodes
    assert len(dataset.bad.reasons) == 1


def test_nothing_but_bad_records(tmp_path):
    episodes = [shards.episode(i) for i in range(3)]
    for episode in episodes:
        for step in episode["steps"]:
            step["observation"]["image"].truncate(100)
    dataset = make(shards.write(tmp_path, episodes))
    with pytest.raises(UserError, match="100 windows in a row cannot be read, the last because of"):
        dataset.batch_at(0)


def test_an_unknown_policy(tmp_path):
    with pytest.raises(UserError, match=r"config\.data\.on_bad_record='drop': choose"):
        make(write(tmp_path, damaged=False), policy="drop")
