"""Reading RLDS: both shard formats give the same, and every damage names file and record."""

import json

import numpy as np
import pytest
from etils import epath

from data_pipelines import rlds_writer
from data_pipelines.oxe.registry import find
from data_pipelines.sources.records import TFRecordShard
from data_pipelines.sources.rlds import open_rlds
from tests.data_pipelines import shards
from tests.data_pipelines.oxe import fakes
from vidact.errors import UserError

BRIDGE = "observation/image_0"


@pytest.fixture(params=shards.FORMATS)
def folder(request, tmp_path, monkeypatch):
    """Ten episodes in three shards."""
    monkeypatch.setattr(rlds_writer, "EPISODES_PER_SHARD", 4)
    episodes = [shards.episode(i, steps=3 + i) for i in range(10)]
    return shards.write(tmp_path, episodes, request.param)


def test_episodes_are_what_was_written(folder):
    source = shards.opened(folder)
    assert len(source) == 10
    assert source.fps == 20.0
    assert source.image_shapes == {shards.CAMERA: (16, 16)}
    for index in (9, 0, 4):
        episode = source.episode(index)
        want = shards.episode(index, steps=3 + index)["steps"]
        assert len(episode) == 3 + index
        assert episode.index == index
        for step, expected in enumerate(want):
            (frame,) = episode.cameras[shards.CAMERA].read([step])
            assert frame == expected["observation"]["image"].getvalue()
            np.testing.assert_array_equal(episode.states[step], expected["observation"]["state"])
            np.testing.assert_array_equal(episode.actions[step], expected["action"])
            assert episode.instructions[step] == f"Do task {index}"


def test_root_may_be_a_folder_above(folder):
    for root in (folder.parent, folder.parent.parent):
        assert len(open_rlds(str(root))) == 10


def test_several_data_sets_below_root_are_refused(folder, tmp_path):
    shards.write(tmp_path / "toy" / "more", [shards.episode(0)])
    (tmp_path / "toy" / "more" / "toy" / "1.0.0").rename(tmp_path / "toy" / "2.0.0")
    with pytest.raises(UserError, match=r"several data sets.*1\.0\.0.*2\.0\.0"):
        open_rlds(str(tmp_path))


def test_missing_folder_and_folder_without_data(tmp_path):
    with pytest.raises(UserError, match=r"nowhere: no such folder; .*config.data.root"):
        open_rlds(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"no features.json"):
        open_rlds(str(tmp_path))


def test_broken_description(folder):
    (folder / "features.json").write_text("{")
    with pytest.raises(UserError, match=r"features.json .*cannot be read"):
        open_rlds(str(folder))


def test_unknown_split_lists_the_splits(folder):
    with pytest.raises(UserError, match=r"no split 'test'; config.data.split is one of: train"):
        open_rlds(str(folder), "test")


def test_empty_split(folder):
    info = folder / "dataset_info.json"
    described = json.loads(info.read_text())
    described["splits"][0]["shardLengths"] = ["0", "0", "0"]
    info.write_text(json.dumps(described))
    with pytest.raises(UserError, match="holds no episodes"):
        open_rlds(str(folder))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"cameras": ["observation/image_7"]}, "no observation/image_7.*: observation/image$"),
        ({"cameras": [shards.CAMERA, "wrist"]}, "no wrist in a step.*: observation/image$"),
        ({"cameras": ["action"]}, "action is no image.*: observation/image$"),
        ({"state": "state"}, "no state in a step.*observation/state"),
        ({"action": "language_instruction"}, "is no array.*: action, discount"),
        ({"instruction": "text"}, "no text in a step.*: language_instruction$"),
    ],
)
def test_missing_key_lists_those_that_exist(folder, keys, message):
    with pytest.raises(UserError, match=message):
        shards.opened(folder, *keys.get("cameras", ()), **without(keys, "cameras"))


def without(named: dict, key: str) -> dict:
    return {name: value for name, value in named.items() if name != key}


def test_data_without_instruction(folder):
    episode = shards.opened(folder, instruction="").episode(0)
    assert episode.instructions == ["", "", ""]


def test_missing_shard(folder):
    path = shards.shard(folder, 1)
    path.unlink()
    with pytest.raises(UserError, match=f"{path.name}: missing"):
        open_rlds(str(folder))


def test_truncated_shard(folder):
    path = shards.shard(folder, 1)
    path.write_bytes(path.read_bytes()[:-100])
    source = shards.opened(folder)
    assert len(source.episode(0)) == 3  # the other shards are sound
    with pytest.raises(UserError, match=f"{path.name}.*truncated"):
        source.episode(7)


def test_shard_that_ends_between_records(tmp_path):
    folder = shards.write(tmp_path, [shards.episode(i) for i in range(3)], "tfrecord")
    path = shards.shard(folder)
    data = path.read_bytes()
    last = len(data) - len(TFRecordShard(epath.Path(path)).read(2)) - 16  # 16 bytes of framing
    path.write_bytes(data[:last])
    with pytest.raises(UserError, match=r"holds 2 records where .* states 3"):
        shards.opened(folder).episode(0)


def test_damaged_record_is_named_and_others_still_read(tmp_path):
    folder = shards.write(tmp_path, [shards.episode(i) for i in range(3)], "tfrecord")
    shards.flip_byte(shards.shard(folder), -100)
    source = shards.opened(folder)
    with pytest.raises(UserError, match="record 2: corrupt"):
        source.episode(2)
    assert len(source.episode(1)) == 6


def test_damaged_array_record(tmp_path):
    folder = shards.write(tmp_path, [shards.episode(i) for i in range(3)])
    path = shards.shard(folder)
    shards.flip_byte(path, 200)
    source = shards.opened(folder)
    with pytest.raises(UserError, match=f"{path.name}.*corrupt"):
        list(map(source.episode, range(3)))


def test_cameras_of_different_length_are_named(tmp_path):
    root = shards.write(tmp_path, [shards.with_wrist(shards.episode(0))], "tfrecord")
    source = shards.opened(root, shards.CAMERA, shards.WRIST)
    assert list(source.episode(0).cameras) == [shards.CAMERA, shards.WRIST]
    shards.drop_frame(shards.shard(root), shards.WRIST)
    message = "record 0: observation/wrist has 5 steps where observation/image has 6; mend"
    with pytest.raises(UserError, match=message):
        source.episode(0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_action_names_file_record_and_step(tmp_path, value):
    episodes = [shards.episode(i) for i in range(3)]
    episodes[1]["steps"][4]["action"][1] = value
    folder = shards.write(tmp_path, episodes)
    name = shards.shard(folder).name
    message = f"{name}: record 1: steps/action at step 4, dimension 1 is {value}; "
    with pytest.raises(UserError, match=message):
        shards.opened(folder).episode(1)


def test_wrong_shape(tmp_path):
    folder = shards.write(tmp_path, [shards.episode(0)])
    features = folder / "features.json"
    text = features.read_text().replace(f'"{shards.ACTION_SIZE}"', '"7"', 1)
    features.write_text(text)
    with pytest.raises(UserError, match=r"record 0: steps/action has 12 numbers, which .* .7,. do"):
        shards.opened(folder).episode(0)


@pytest.mark.parametrize("rate", ['"fast"', "0", "-5", "NaN", "1e9", "true", "[20]"])
def test_a_rate_that_cannot_be(tmp_path, rate):
    folder = shards.write(tmp_path, [shards.episode(0)])
    (folder / "metadata.json").write_text(f'{{"fps": {rate}}}')
    with pytest.raises(
        UserError, match=r"metadata\.json: fps is .*, not a rate up to 1000; mend it"
    ):
        open_rlds(str(folder))


@pytest.mark.parametrize(
    ("stored", "claimed", "told"),
    [
        (np.int32, "uint8", "steps/action holds 300, which is no uint8"),
        (np.float32, "int32", "steps/action is a float_list, not a int64_list"),
    ],
)
def test_numbers_of_another_type_than_stated(tmp_path, stored, claimed, told):
    values = np.full((10, 2), 300, stored)
    row = find("bridge_dataset")
    folder = fakes.write(tmp_path, row, action=values) / "1.0.0"
    features = folder / "features.json"
    described = json.loads(features.read_text())
    step = described["featuresDict"]["features"]["steps"]["sequence"]["feature"]
    step["featuresDict"]["features"]["action"]["tensor"]["dtype"] = claimed
    features.write_text(json.dumps(described))
    with pytest.raises(UserError, match=f"record 1: {told}"):
        open_rlds(str(folder)).recording(1, ("action",))


def test_real_bridge_shard(shared):
    source = shards.opened(shared / "data" / "bridge_dataset", BRIDGE, fps=5.0)
    assert len(source) == 25
    episodes = [source.episode(index) for index in range(25)]
    assert {len(episode) for episode in episodes} == {10}
    assert {episode.actions.shape for episode in episodes} == {(10, 7)}
    assert {episode.states.shape for episode in episodes} == {(10, 7)}
    assert len({text for episode in episodes for text in episode.instructions}) == 4
    assert all(
        image.startswith(b"\xff\xd8") for image in episodes[3].cameras[BRIDGE].read(range(10))
    )
    assert episodes[0].metadata["has_language"] == 1


def test_real_bridge_equals_tfds_own_decoding(shared):
    import grain
    import tensorflow_datasets as tfds

    root = shared / "data" / "bridge_dataset" / "1.0.0"
    features = tfds.builder_from_directory(root).info.features
    path = root / "bridge_dataset-val.tfrecord-00000-of-00001"
    source = shards.opened(root, BRIDGE, split="val", fps=5.0)
    skip = {"steps": {"observation": {"image_0": tfds.decode.SkipDecoding()}}}
    records = grain.experimental.TFRecordIterDataset(str(path))
    for index, record in zip(range(3), records, strict=False):
        steps = list(features.deserialize_example_np(record, decoders=skip)["steps"])
        episode = source.episode(index)
        assert len(steps) == len(episode)
        for i, step in enumerate(steps):
            assert step["observation"]["image_0"] == episode.cameras[BRIDGE].read([i])[0]
            np.testing.assert_array_equal(step["action"], episode.actions[i])
            np.testing.assert_array_equal(step["observation"]["state"], episode.states[i])
            assert step["language_instruction"].decode() == episode.instructions[i]
