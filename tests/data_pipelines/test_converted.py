"""What is converted is what the source gives, bit by bit; neither damage nor kills go unnoticed."""

import contextlib
import io
import itertools
import json

import numpy as np
import pytest
import simplejpeg
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from etils import epath
from PIL import Image

from data_pipelines import frames, pipeline, rlds_writer
from data_pipelines.conversion import files, local, plan
from data_pipelines.conversion.finish import verify_shard
from data_pipelines.sources import converted, converted_shard, segments, texts
from data_pipelines.sources.opening import open_source
from data_pipelines.sources.rlds import RLDS, open_rlds
from tests.data_pipelines import shards
from vidact import store
from vidact.errors import UserError

LENGTHS = (3, 8, 9, 17, 1)


def convert(root, out, **arguments):
    """Converts in this process; gives the result."""
    todo = plan.make_plan(str(root), arguments.pop("split", "train"), **arguments)
    files.clean(epath.Path(out))
    return local.convert(todo, epath.Path(out))


@pytest.fixture
def root(tmp_path):
    """Episodes of two cameras, around and on the bounds of a record."""
    episodes = [shards.with_wrist(shards.episode(i, n)) for i, n in enumerate(LENGTHS)]
    return shards.write(tmp_path, episodes)


def assert_same(one, other, index):
    """Episode `index` of two sources, all its features."""
    paths = [path for path, feature in one.features.items() if feature.kind != "other"]
    assert one.features == other.features
    a, b = one.recording(index, paths), other.recording(index, paths)
    assert a.steps == b.steps and a.features.keys() == b.features.keys()
    for path, values in a.features.items():
        assert values.dtype == b.features[path].dtype
        assert values.tolist() == b.features[path].tolist()
    for path, camera in a.cameras.items():
        every = range(a.steps)
        assert camera.read(every) == b.cameras[path].read(every)
        some = sorted({0, a.steps // 2, a.steps - 1}) + [a.steps - 1]
        assert b.cameras[path].read(some) == [camera.read(every)[step] for step in some]


def test_everything_is_as_the_source_gives_it(root, tmp_path):
    result = convert(root, tmp_path / "out")
    source, found = open_source(str(root)), open_source(str(tmp_path / "out"))
    assert isinstance(source, RLDS) and isinstance(found, converted.Converted)
    assert result[:4] == (5, sum(LENGTHS), 2 * sum(LENGTHS), 0)
    assert found.lengths.tolist() == list(LENGTHS)
    assert found.fps == 20.0
    for index in range(5):
        assert_same(source, found, index)


def test_frames_of_a_record(root, tmp_path):
    """Two cameras of 17 steps are six records: 8, 8 and 1 frames of each."""
    convert(root, tmp_path / "out")
    reader = ArrayRecordReader(str(tmp_path / "out" / "frames-00000-of-00001.array_record"))
    assert reader.writer_options_string().startswith("group_size:1")
    counts = [int.from_bytes(record[:4], "little") for record in reader.read_all()]
    assert counts == [3, 3, 8, 8, 8, 1, 8, 1, 8, 8, 1, 8, 8, 1, 1, 1]


@pytest.mark.parametrize("record", [b"", b"\1\0\0\0", segments.pack([b"ab", b"c"]) + b"d"])
def test_what_is_no_record_of_two_frames(record):
    assert segments.unpack(segments.pack([b"ab", b""]), 2, "here") == [b"ab", b""]
    with pytest.raises(UserError, match="here: is no record of 2 frames"):
        segments.unpack(record, 2, "here")


def test_real_bridge(shared, tmp_path):
    root = shared / "data" / "bridge_dataset"
    assert convert(root, tmp_path, cameras=("observation/image_0",))[:4] == (25, 250, 250, 0)
    assert convert(root, tmp_path / "val", split="val")[:4] == (25, 250, 1000, 0)
    source, found = open_rlds(str(root), "val"), open_source(str(tmp_path / "val"), "val")
    for index in (0, 24):
        assert_same(source, found, index)
    data = {"image_key": "observation/image_0", "resolution": (64, 64), "fps": 5.0}
    one, other = (
        pipeline.make_dataset(shards.config(folder, **data), seed=3, batch_size=8)
        for folder in (root, tmp_path)
    )
    for a, b in zip(one.batch_at(7).as_dict().values(), other.batch_at(7).as_dict().values()):
        np.testing.assert_array_equal(a, b)


def test_a_chosen_camera(root, tmp_path):
    convert(root, tmp_path / "out", cameras=(shards.WRIST,))
    found = open_source(str(tmp_path / "out"))
    assert [p for p, f in found.features.items() if f.kind == "image"] == [shards.WRIST]
    told = json.loads((tmp_path / "out" / "report.json").read_text())
    assert told == {"bad": [], "left_out": [shards.CAMERA]}
    with pytest.raises(UserError, match=f"no camera arm; choose from {shards.CAMERA}, "):
        convert(root, tmp_path / "more", cameras=("arm",))


def test_resized_frames(root, tmp_path):
    convert(root, tmp_path / "out", resize=(16, 16))
    source, found = open_source(str(root)), open_source(str(tmp_path / "out"))
    assert found.features[shards.WRIST].shape == (16, 16, 3)
    one, other = (s.recording(1, (shards.CAMERA, shards.WRIST)) for s in (source, found))
    # One camera has that size already.
    assert one.cameras[shards.CAMERA].read([5]) == other.cameras[shards.CAMERA].read([5])
    want = np.zeros((16, 16, 3), np.uint8)
    frames.decode(one.cameras[shards.WRIST].read([5])[0], want)
    assert other.cameras[shards.WRIST].read([5]) == [
        simplejpeg.encode_jpeg(want, quality=95, colorsubsampling="420")
    ]


def test_png_frames_become_jpeg_and_depth_is_left_out(tmp_path):
    rows, columns = np.mgrid[:16, :24]
    pixels = np.stack([rows * 10, columns * 7, rows + columns], axis=-1).astype(np.uint8)

    def png(array):
        file = io.BytesIO()
        Image.fromarray(array).save(file, "PNG")
        return io.BytesIO(file.getvalue())

    spec = tfds.features.FeaturesDict(
        {
            "steps": tfds.features.Dataset(
                {
                    "observation": {
                        "image": tfds.features.Image(shape=(16, 24, 3), encoding_format="png"),
                        "depth": tfds.features.Image(shape=(16, 24, 1), encoding_format="png"),
                    },
                    "action": tfds.features.Tensor(shape=(2,), dtype=np.float64),
                }
            ),
            "episode_metadata": {"success": tfds.features.Scalar(dtype=np.bool_)},
        }
    )
    step = {
        "observation": {"image": png(pixels), "depth": png(pixels[..., 0])},
        "action": np.array([0.5, 1.0]),
    }
    folder = tmp_path / "png" / "1.0.0"
    episode = {"steps": [step], "episode_metadata": {"success": True}}
    rlds_writer.write(folder, [episode], spec, "one PNG", {})
    convert(folder, tmp_path / "out")
    found = open_source(str(tmp_path / "out")).recording(0, ("observation/image", "action"))
    (file,) = found.cameras["observation/image"].read([0])
    assert file == simplejpeg.encode_jpeg(pixels, quality=95, colorsubsampling="420")
    assert found.metadata == {"success": 1}
    told = json.loads((tmp_path / "out" / "report.json").read_text())
    assert told["left_out"] == ["observation/depth"]


def test_bad_episodes_stand_in_the_report(tmp_path):
    episodes = [shards.episode(i) for i in range(5)]
    image = episodes[1]["steps"][3]["observation"]["image"]
    image.truncate(len(image.getvalue()) // 2)
    episodes[3]["steps"][2]["action"][1] = np.nan
    root = shards.write(tmp_path, episodes)
    result = convert(root, tmp_path / "out")
    assert result[:4] == (3, 18, 18, 2)
    bad = json.loads((tmp_path / "out" / "report.json").read_text())["bad"]
    assert [entry["episode"] for entry in bad] == [1, 3]
    assert "record 1: observation/image at step 3: cannot be decoded" in bad[0]["reason"]
    assert "record 3: steps/action at step 2, dimension 1 is nan" in bad[1]["reason"]
    found = open_source(str(tmp_path / "out"))
    kept = [int(found.recording(i, ("action",)).features["action"][0, 1]) for i in range(3)]
    assert kept == [0, 2, 4]


def test_only_bad_episodes(tmp_path):
    episode = shards.episode(0)
    episode["steps"][0]["action"][0] = np.inf
    root = shards.write(tmp_path, [episode])
    assert convert(root, tmp_path / "out")[:4] == (0, 0, 0, 1)
    with pytest.raises(UserError, match=r"out: holds no episode; see report\.json there"):
        open_source(str(tmp_path / "out"))


@pytest.fixture
def many(tmp_path):
    """Episodes for three shards."""
    return shards.write(tmp_path / "many", [shards.episode(i, 2) for i in range(48)])


def test_what_is_there_is_left_alone_and_what_is_missing_is_written(many, tmp_path):
    out = tmp_path / "out"
    whole = convert(many, out)
    there = {path.name: path.stat().st_ino for path in out.glob("*-of-*")}
    content = {path.name: path.read_bytes() for path in out.glob("*-of-*")}
    assert len(there) == 6
    # Killed before the steps file of one shard was in place, and in the middle of another file.
    (out / "steps-00001-of-00003.safetensors").unlink()
    (out / f"{files.SCRATCH}killed").mkdir()
    (out / f"{files.SCRATCH}killed" / "frames-00001-of-00003.array_record").write_bytes(b"half")
    (out / "converted.json").unlink()
    with pytest.raises(UserError, match=r"has not come to its end; run .* again"):
        open_source(str(out))
    assert convert(many, out) == whole
    assert {path.name: path.read_bytes() for path in out.glob("*-of-*")} == content
    changed = {p.name for p in out.glob("*-of-*") if p.stat().st_ino != there[p.name]}
    assert changed <= {"steps-00001-of-00003.safetensors", "frames-00001-of-00003.array_record"}
    assert not list(out.glob(f"{files.SCRATCH}*"))


def test_the_checksum_is_of_the_content(many, tmp_path, monkeypatch):
    found = [convert(many, tmp_path / "three").checksum]
    monkeypatch.setattr(plan, "MIN_EPISODES", 48)
    monkeypatch.setattr(plan, "FRAMES_PER_RECORD", 1)
    found.append(convert(many, tmp_path / "one").checksum)
    other = shards.write(tmp_path / "other", [shards.episode(i, 2) for i in range(47)])
    found.append(convert(other, tmp_path / "less").checksum)
    assert found[0] == found[1] != found[2]
    fingerprints = [open_source(str(tmp_path / name)).fingerprint for name in ("three", "one")]
    assert fingerprints == found[:2]


def test_another_conversion_in_the_same_folder(many, root, tmp_path):
    out = tmp_path / "out"
    convert(many, out)
    with pytest.raises(UserError, match="out: its conversion began with other resize; go on"):
        convert(many, out, resize=(8, 8))
    with pytest.raises(UserError, match="is not empty and holds no conversion"):
        convert(many, many)


def test_damaged_frames_name_file_and_record(root, tmp_path):
    convert(root, tmp_path / "out")
    path = tmp_path / "out" / "frames-00000-of-00001.array_record"
    reader = ArrayRecordReader(str(path))
    begin = path.read_bytes().index(reader.read([3])[0])  # the wrist of episode 1
    reader.close()
    shards.flip_byte(path, begin + 40)
    cameras = open_source(str(tmp_path / "out")).recording(1, (shards.CAMERA, shards.WRIST)).cameras
    assert len(cameras[shards.CAMERA].read(range(8))) == 8
    for _ in range(2):
        with pytest.raises(UserError, match=f"{path.name}: record 3: corrupt"):
            cameras[shards.WRIST].read([0, 7])
    assert len(cameras[shards.CAMERA].read(range(8))) == 8


def test_damaged_numbers_name_file_episode_and_feature(root, tmp_path):
    convert(root, tmp_path / "out")
    path = tmp_path / "out" / "steps-00000-of-00001.safetensors"
    content = path.read_bytes()
    action = np.stack([np.arange(9), np.full(9, 2)], axis=-1).astype(np.float32).tobytes()
    shards.flip_byte(path, content.index(action) + 12)
    source = open_source(str(tmp_path / "out"))
    assert source.recording(1, ("action",)).steps == 8
    with pytest.raises(UserError, match=f"{path.name}: episode 2: action is corrupt; copy"):
        source.recording(2, ("action",))
    assert source.recording(2, ("observation/state",)).steps == 9


def test_whatever_byte_of_the_texts_is_damaged(root, tmp_path, monkeypatch):
    """They are found by numbers that may be damaged themselves."""
    convert(root, tmp_path / "out")
    path = tmp_path / "out" / "steps-00000-of-00001.safetensors"
    whole = path.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    told = json.loads(whole[8 : 8 + size])
    path_of_text = f"{converted_shard.VALUES}language_instruction"
    for name in (texts.BYTES, texts.ENDS, texts.KINDS, path_of_text, converted_shard.METADATA):
        begin, end = told[name]["data_offsets"]
        for place in range(begin, end, 2):
            path.write_bytes(whole)
            shards.flip_byte(path, 8 + size + place)
            monkeypatch.setattr(converted, "_OPENED", converted.Opened())
            source = open_source(str(tmp_path / "out"))
            for index in range(len(source)):
                with contextlib.suppress(UserError):
                    source.recording(index, ("language_instruction",))


def test_verifying_notices_other_frames(root, tmp_path):
    convert(root, tmp_path / "out")
    path = tmp_path / "out" / "frames-00000-of-00001.array_record"
    reader = ArrayRecordReader(str(path))
    records = reader.read_all()
    reader.close()
    records[0], records[1] = records[1], records[0]  # the cameras of the first episode
    writer = ArrayRecordWriter(str(path), "group_size:1,uncompressed")
    for record in records:
        writer.write(record)
    writer.close()
    todo = plan.make_plan(str(root), "train")
    wrong = verify_shard(todo, epath.Path(tmp_path / "out"), 0)
    assert "episode 0: is not what was read; " in wrong


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("converted.json", lambda path: path.write_text("{"), "converted.json: cannot be read"),
        ("converted.json", lambda path: path.write_text('{"version": 7}'), "of another version"),
        ("index.safetensors", lambda path: path.unlink(), "index.safetensors: no such file"),
        ("frames-00000-of-00001.array_record", lambda path: path.unlink(), "array_record: missing"),
        (
            "frames-00000-of-00001.array_record",
            lambda path: path.write_bytes(path.read_bytes()[:-70_000]),
            "holds not 16 sound records",
        ),
        (
            "steps-00000-of-00001.safetensors",
            lambda path: path.write_bytes(path.read_bytes()[:-9]),
            "steps-00000-of-00001.safetensors: not a whole safetensors file",
        ),
    ],
)
def test_missing_and_torn_files(root, tmp_path, name, change, message):
    convert(root, tmp_path / "out")
    change(tmp_path / "out" / name)
    with pytest.raises(UserError, match=message):
        open_source(str(tmp_path / "out")).recording(0, (shards.CAMERA, "action")).cameras[
            shards.CAMERA
        ].read([0])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("shards", 3),
        ("shards", [{"episodes": "many"}]),
        ("shards", [{"episodes": -1}]),
        ("frames_per_record", "8"),
        ("frames_per_record", 0),
        ("fps", "fast"),
        ("fps", 0),
        ("checksum", None),
        ("features", {"action": {"kind": "sound", "shape": [2]}}),
        ("features", {"action": {"kind": "array", "shape": ["2"]}}),
    ],
)
def test_a_description_that_cannot_be(many, tmp_path, key, value):
    convert(many, tmp_path / "out")
    path = tmp_path / "out" / "converted.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(UserError, match=f"converted\\.json: .*{key}|does not fit converted"):
        open_source(str(tmp_path / "out"))


def test_an_index_without_lengths(many, tmp_path):
    convert(many, tmp_path / "out")
    store.save(tmp_path / "out" / "index.safetensors", {"steps": np.ones(48, np.int64)})
    with pytest.raises(UserError, match=r"index\.safetensors: does not fit converted\.json"):
        open_source(str(tmp_path / "out"))


def test_another_split(root, tmp_path):
    convert(root, tmp_path / "out")
    with pytest.raises(UserError, match=r"holds split 'train'; set config\.data\.split"):
        open_source(f"converted:{tmp_path / 'out'}", "val")


def test_few_shards_are_open_at_once(many, tmp_path, monkeypatch):
    convert(many, tmp_path / "out")
    monkeypatch.setattr(converted, "MAX_OPEN", 2)
    monkeypatch.setattr(converted, "_OPENED", converted.Opened())
    source = open_source(str(tmp_path / "out"))
    for index in itertools.chain(range(48), range(0, 48, 7)):
        recording = source.recording(index, ("action", shards.CAMERA))
        assert recording.features["action"][0, 1] == index
        assert len(recording.cameras[shards.CAMERA].read([1])) == 1
        assert len(converted._OPENED._shards) <= 2
