"""What the writer writes, TFDS reads: the same bytes, in several shards, or nothing at all."""

import json
import sys

import numpy as np
import pytest
import simplejpeg
import tensorflow_datasets as tfds

from data_pipelines import rlds_writer
from vidact.errors import UserError

SPEC = rlds_writer.features((8, 8, 3), 2, 3, {"seed": tfds.features.Scalar(dtype=np.int64)})


def _episode(seed: int) -> dict:
    rng = np.random.default_rng(seed)
    length = 3 + seed
    images = [simplejpeg.encode_jpeg(image) for image in _pictures(rng, length)]
    return rlds_writer.episode(
        images,
        rng.normal(size=(length, 2)).astype(np.float32),
        rng.normal(size=(length, 3)).astype(np.float32),
        rewards=[0.0] * (length - 1) + [1.0],
        instruction=f"do {seed}",
        terminal=seed % 2 == 0,
        metadata={"seed": np.int64(seed)},
    )


def _pictures(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)


def _write(directory, seeds, **options):
    episodes = (_episode(seed) for seed in seeds)
    return rlds_writer.write(directory, episodes, SPEC, "A test.", {"fps": 5.0}, **options)


def test_episodes_come_back_as_they_were_in_order_and_in_several_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(rlds_writer, "EPISODES_PER_SHARD", 2)
    directory = tmp_path / "toy" / "1.0.0"
    assert _write(directory, range(5)) == 5
    builder = tfds.builder_from_directory(directory)
    assert builder.info.splits["train"].shard_lengths == [2, 2, 1]
    assert builder.info.metadata == {"fps": 5.0}
    assert builder.info.full_name == "toy/1.0.0"
    keep_jpeg = {"steps": {"observation": {"image": tfds.decode.SkipDecoding()}}}
    source = builder.as_data_source("train", decoders=keep_jpeg)
    assert len(source) == 5
    for seed in range(5):
        expected, found = _episode(seed), source[seed]
        assert found["episode_metadata"]["seed"] == seed
        for want, have in zip(expected["steps"], found["steps"], strict=True):
            assert have["observation"]["image"] == want["observation"]["image"].getvalue()
            np.testing.assert_array_equal(
                have["observation"]["state"], want["observation"]["state"]
            )
            np.testing.assert_array_equal(have["action"], want["action"])
            for key in ("reward", "discount", "is_first", "is_last", "is_terminal"):
                assert have[key] == want[key]
            assert have["language_instruction"] == want["language_instruction"].encode()
    assert "tensorflow" not in sys.modules


def test_the_folder_holds_what_the_format_asks_for(tmp_path):
    directory = tmp_path / "toy" / "1.0.0"
    _write(directory, range(1))
    info = json.loads((directory / "dataset_info.json").read_text())
    assert info["fileFormat"] == "array_record"
    assert json.loads((directory / "features.json").read_text())
    assert str(tmp_path) not in "".join(path.read_text() for path in directory.glob("*.json"))
    assert [path.name for path in directory.glob("*array_record*")] == [
        "toy-train.array_record-00000-of-00001"
    ]


def test_a_failure_on_the_way_leaves_nothing(tmp_path):
    def failing():
        yield _episode(0)
        raise RuntimeError("the robot fell over")

    with pytest.raises(RuntimeError, match="fell over"):
        rlds_writer.write(tmp_path / "toy" / "1.0.0", failing(), SPEC, "", {})
    assert list((tmp_path / "toy").iterdir()) == []


def test_what_is_there_is_replaced_only_when_asked(tmp_path):
    directory = tmp_path / "toy" / "1.0.0"
    _write(directory, range(1))
    with pytest.raises(UserError, match="exists; choose another folder or give --overwrite"):
        _write(directory, range(2))
    with pytest.raises(UserError, match="no episodes"):
        _write(directory, [], overwrite=True)
    assert len(tfds.builder_from_directory(directory).as_data_source("train")) == 1
    _write(directory, range(2), overwrite=True)
    assert len(tfds.builder_from_directory(directory).as_data_source("train")) == 2
    assert [path.name for path in directory.parent.iterdir()] == ["1.0.0"]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("toy", "must end in a version; write .*toy/1.0.0"),
        ("my-toy/1.0.0", "'my-toy' cannot name a data set"),
        ("file/toy/1.0.0", "file: cannot be written to"),
    ],
)
def test_a_bad_target_is_refused_before_any_work(tmp_path, where, message):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=message):
        _write(tmp_path / where, range(1))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
