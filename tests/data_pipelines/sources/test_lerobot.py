"""LeRobot data sets: both layouts give the same, and every damage names file and episode."""

import json
import re
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from etils import epath

from data_pipelines.sources.lerobot import is_lerobot, open_lerobot
from data_pipelines.sources.recording import Feature, Source, StoredFrames
from tests.data_pipelines.sources import lerobots, videos
from tests.data_pipelines.sources.lerobots import LENGTHS, TASKS, TOP, WRIST
from vidact.errors import UserError

NUMBERS = ("action", "observation.state", "observation.grid", "next.done")


@pytest.fixture(scope="module", params=lerobots.VERSIONS)
def written(request, tmp_path_factory):
    """A version, and a folder of it that no test changes."""
    return request.param, lerobots.write(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture
def folder(written, tmp_path):
    """A copy to damage."""
    return shutil.copytree(written[1], tmp_path / "set")


@pytest.fixture
def version(written):
    return written[0]


def test_the_description(written):
    source = open_lerobot(str(written[1]))
    assert isinstance(source, Source)
    assert (len(source), source.fps) == (2, float(videos.FPS))
    np.testing.assert_array_equal(source.lengths, [6, 9])
    assert source.features["action"] == Feature("array", (2,))
    assert source.features["observation.grid"] == Feature("array", (2, 2))
    assert source.features[TOP] == Feature("image", (48, 64, 3))  # stated channels first
    assert source.features[WRIST] == Feature("image", (24, 32, 3))
    assert source.features["next.done"] == Feature("array", (1,))
    assert source.features["subtask"] == source.features["task"] == Feature("text")
    assert source.features[lerobots.DEPTH].kind == "other"
    assert source.features["language_events"].kind == "other"
    assert is_lerobot(epath.Path(written[1]))
    assert not is_lerobot(epath.Path(written[1]).parent)


def test_the_splits_are_ranges_of_episodes(written):
    source = open_lerobot(str(written[1]), "test")
    np.testing.assert_array_equal(source.lengths, [4])
    recording = source.recording(0, ["action"])
    assert recording.index == 0
    assert recording.metadata == {"episode_index": 2}
    np.testing.assert_array_equal(recording.features["action"][:, 1], [2, 2, 2, 2])


@pytest.mark.parametrize("index", [1, 0])
def test_numbers_and_texts(written, index):
    source = open_lerobot(str(written[1]))
    recording = source.recording(index, [*NUMBERS, "subtask", "task"])
    want = lerobots.columns(index)
    assert recording.steps == LENGTHS[index]
    for key in NUMBERS:
        shape = (LENGTHS[index], *lerobots.FEATURES[key]["shape"])
        np.testing.assert_array_equal(recording.features[key], np.reshape(want[key], shape))
    assert recording.features["action"].dtype == np.float32
    assert recording.features["observation.state"].dtype == np.float64
    assert recording.features["subtask"].tolist() == want["subtask"]
    half = LENGTHS[index] // 2
    tasks = [TASKS[0]] * half + [TASKS[1]] * (LENGTHS[index] - half)
    assert recording.features["task"].tolist() == tasks
    assert recording.features["task"].dtype == object
    assert lerobots.data_file(written[1], written[0], index).name in recording.name
    assert recording.name.endswith(f"episode {index}")


@pytest.mark.parametrize(
    ("split", "index", "episode"), [("train", 0, 0), ("train", 1, 1), ("test", 0, 2)]
)
def test_frames(written, split, index, episode):
    recording = open_lerobot(str(written[1]), split).recording(index, [TOP, WRIST])
    assert recording.features == {}
    alone = written[1].parent / f"{episode}.mp4"
    steps = range(LENGTHS[episode])
    np.testing.assert_array_equal(recording.cameras[TOP].read(steps), videos.decode(alone))
    files = [lerobots.wrist(episode, step) for step in steps]
    assert recording.cameras[WRIST].read(steps) == files
    assert isinstance(recording.cameras[WRIST], StoredFrames)


def test_the_files_that_are_read(folder, version):
    numbers = [lerobots.data_file(folder, version, episode) for episode in (0, 1)]
    meta = [path for path in (folder / "meta").rglob("*.*") if "stats" not in path.name]
    source = open_lerobot(str(folder))
    assert sorted(source.files) == sorted({*meta, *numbers})
    numbers[0].unlink()
    assert sorted(source.files) == sorted({*meta, *numbers} - {numbers[0]})


def test_only_what_is_asked_for_is_touched(folder, version):
    for name in ("data", "videos"):
        shutil.rmtree(folder / name)
    recording = open_lerobot(str(folder)).recording(1, [])
    assert (recording.steps, recording.features, recording.cameras) == (9, {}, {})


def test_the_fingerprint_is_of_what_the_data_set_says(folder, version, written):
    first = open_lerobot(str(folder)).fingerprint
    assert first == open_lerobot(str(written[1])).fingerprint
    assert first != open_lerobot(str(written[1]), "test").fingerprint
    lerobots.data_file(folder, version, 0).touch()
    assert open_lerobot(str(folder)).fingerprint == first
    if version == "v3.0":
        lerobots.edit(folder / "meta/tasks.parquet", __index_level_0__=["open", "close"])
    else:
        path = folder / "meta/tasks.jsonl"
        path.write_text(path.read_text().replace("close it", "close"))
    assert open_lerobot(str(folder)).fingerprint != first


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codebase_version": "v1.6"}, "codebase_version 'v1.6'; readable are v2.0, v2.1, v3.0"),
        ({"fps": 0}, "fps is 0"),
        ({"fps": "10"}, "fps is '10'"),
        ({"fps": float("nan")}, "fps is nan"),
        ({"total_episodes": 4}, r"3 episodes, not 0 to 3"),
        ({"total_episodes": True}, "total_episodes is True"),
        ({"chunks_size": None}, "chunks_size is None"),
        ({"data_path": "../{episode_index}.parquet"}, r"data_path is '\.\./"),
        ({"video_path": None}, "video_path is None; only 'videos/"),
        ({"splits": {"train": "0:4"}}, "split 'train' is '0:4', not a range within 0:3"),
        ({"splits": {"train": "2:2"}}, "split 'train' is '2:2'"),
        ({"splits": ["train"]}, "splits is no table"),
        ({"splits": {"validation": "0:3"}}, "no split 'train'; .* one of: validation"),
        ({"features": None}, "no feature action that can be read"),
        ({"features": {"action": 1}}, "action is no table"),
        ({"features": {"action": {"dtype": "float32", "shape": "2"}}}, "action has the shape '2'"),
        ({"features": {"a/../b": {"dtype": "video", "shape": [8, 8, 3]}}}, r"a/\.\./b would be"),
    ],
)
def test_a_wrong_description(folder, changes, message):
    path = folder / "meta/info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(UserError, match=message):
        open_lerobot(str(folder)).recording(0, ["action"])


@pytest.mark.parametrize("content", ["{", "[]", "", "\xff", "[" * 100_000])
def test_a_damaged_description(folder, content):
    (folder / "meta/info.json").write_bytes(content.encode("latin1"))
    with pytest.raises(UserError, match=r"info.json: .*; download the file again") as error:
        open_lerobot(str(folder))
    assert "\n" not in str(error.value)


def test_a_missing_description(folder, version):
    name = "meta/tasks.parquet" if version == "v3.0" else "meta/tasks.jsonl"
    (folder / name).unlink()
    with pytest.raises(UserError, match=name):
        open_lerobot(str(folder))
    shutil.rmtree(folder / "meta")
    with pytest.raises(UserError, match=r"info.json: missing; download"):
        open_lerobot(str(folder))


def test_no_train_split_stated_means_every_episode(folder):
    path = folder / "meta/info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "splits": {}}))
    assert open_lerobot(str(folder)).lengths.tolist() == list(LENGTHS)


def test_unknown_features_and_those_not_read(written):
    source = open_lerobot(str(written[1]))
    with pytest.raises(
        UserError, match=r"no feature state that .*; there are action, observation.state, "
    ):
        source.recording(0, ["action", "state"])
    with pytest.raises(UserError, match=r"no feature observation.images.depth that can be read"):
        source.recording(0, [lerobots.DEPTH])


def rows_of(folder, version, episode=0):
    """How many rows the file of an episode has."""
    return pq.read_metadata(lerobots.data_file(folder, version, episode)).num_rows


def read(folder, *paths, episode=0):
    recording = open_lerobot(str(folder)).recording(episode, paths)
    return [recording.cameras[path].read([0, 1, recording.steps - 1]) for path in recording.cameras]


def refused(folder, message, *paths, episode=0):
    """Reading is refused in one line."""
    with pytest.raises(UserError, match=message) as error:
        read(folder, *paths, episode=episode)
    assert "\n" not in str(error.value)


def test_not_a_number(folder, version):
    path = lerobots.data_file(folder, version, 0)
    actions = np.arange(2.0 * rows_of(folder, version)).reshape(-1, 2)
    actions[4, 1] = np.nan
    lerobots.edit(path, action=actions.tolist())
    where = re.escape(f"{path}: episode_index 0: action at step 4, dimension 1 is nan")
    refused(folder, where, "action")
    read(folder, "observation.state", TOP)  # what is not asked for does no harm


def test_a_missing_column(folder, version):
    path = lerobots.data_file(folder, version, 0)
    lerobots.edit(path, action=None)
    refused(
        folder, rf"{re.escape(str(path))}: no column action, only observation.state, ", "action"
    )


def test_missing_and_damaged_numbers(folder, version):
    path = lerobots.data_file(folder, version, 0)
    data = path.read_bytes()
    path.write_bytes(data[:-9])
    refused(folder, rf"{re.escape(str(path))}: no sound Parquet file", "action")
    path.unlink()
    refused(folder, rf"{re.escape(str(path))}: .*No such file", "action")


def test_a_wrong_number_of_steps(folder, version):
    path = lerobots.data_file(folder, version, 0)
    rows = pq.read_table(path)
    pq.write_table(rows.filter(np.arange(len(rows)) != 5), path)
    where = rf"{re.escape(str(path))}: episode_index 0: 5 rows that are not frames 0 to 5"
    refused(folder, where, "action")


def test_rows_in_another_order(folder, version):
    path = lerobots.data_file(folder, version, 0)
    rows = pq.read_table(path)
    pq.write_table(rows.take([1, 0, *range(2, len(rows))]), path)
    refused(folder, r"episode_index 0: 6 rows that are not frames 0 to 5", "action")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[0.0]] * 3 + [[0.0, 1.0, 2.0]] * 3, "action holds lists of other lengths than 2"),
        ([[0.0, 1.0]] * 5 + [None], "action holds lists of other lengths than 2"),
        ([0.0] * 6, "action holds double, not numbers of shape"),
        (["a"] * 6, "action holds string, not numbers"),
        ([[[0.0], [1.0]]] * 6, r"action holds list<.*>, not numbers"),
        ([[0.0, None]] * 6, r"action at step 0, dimension 1 is nan"),
    ],
)
def test_a_column_of_another_shape(tmp_path, values, message):
    folder = lerobots.write(tmp_path, "v2.1")
    lerobots.edit(lerobots.data_file(folder, "v2.1", 0), action=values)
    refused(folder, message, "action")


def test_texts_and_pictures_that_are_not_there(folder, version):
    path, count = lerobots.data_file(folder, version, 0), rows_of(folder, version)
    pictures = [{"path": "images/frame.png"}] * count
    lerobots.edit(path, subtask=[None] * count, **{WRIST: pictures}, task_index=[7] * count)
    refused(folder, "subtask holds null, not a text in every row", "subtask")
    refused(folder, f"{WRIST} holds struct<path: string>, not an image file", WRIST)
    refused(folder, "episode_index 0: task_index 7 is not among the tasks", "task")


@pytest.mark.parametrize(
    ("name", "old", "message"),
    [
        ("meta/tasks.parquet", b"close it", "__index_level_0__ holds a text not in UTF-8"),
        ("meta/tasks.parquet", b"task_index", "tasks.parquet: no sound Parquet file"),
        ("data/chunk-000/file-000.parquet", b"subtask", "file-000.parquet: no sound Parquet file"),
    ],
)
def test_bytes_that_are_no_text(tmp_path, name, old, message):
    folder = lerobots.write(tmp_path, "v3.0")
    pq.write_table(pq.read_table(folder / name), folder / name, compression="none")
    data = (folder / name).read_bytes()
    assert old in data
    (folder / name).write_bytes(data.replace(old, b"\xff" + old[1:]))
    refused(folder, message, "subtask")


def test_a_missing_video(folder, version):
    path = lerobots.video_file(folder, version, 0)
    path.unlink()
    refused(folder, rf"{re.escape(str(path))}: missing, the video of episode 0", TOP)
    read(folder, TOP, episode=1)


def test_a_truncated_video(folder, version):
    path = lerobots.video_file(folder, version, 1)
    path.write_bytes(path.read_bytes()[:-700])
    # Version 3 has another episode at the end of that file.
    split, episode = ("test", 0) if version == "v3.0" else ("train", 1)
    camera = open_lerobot(str(folder), split).recording(episode, [TOP]).cameras[TOP]
    with pytest.raises(UserError, match=re.escape(str(path))):
        camera.read([0, 3])


def test_a_video_that_is_too_short(folder, version):
    path = lerobots.video_file(folder, version, 0)
    videos.write(path, videos.pixels(5))
    refused(folder, rf"{re.escape(str(path))}: holds 5 frames where 6 are stated at 10 fps", TOP)


def test_episodes_that_are_listed_wrongly(tmp_path):
    folder = lerobots.write(tmp_path, "v2.1")
    path = folder / "meta/episodes.jsonl"
    lines = path.read_text().splitlines()
    for wrong, message in [
        (lines[:2], "lists 2 episodes, not 0 to 2"),
        ([*lines[:2], lines[1]], "lists 3 episodes, not 0 to 2"),
        ([*lines[:2], '{"episode_index": 2}'], "length is None"),
        ([*lines[:2], '{"episode_index": 2, "length": 0}'], "an episode without steps"),
        ([*lines[:2], "{"], r"episodes.jsonl: line 3: "),
    ]:
        path.write_text("\n".join(wrong))
        with pytest.raises(UserError, match=message):
            open_lerobot(str(folder))
    path.write_text("\n".join([lines[2], "", lines[0], lines[1]]))
    assert open_lerobot(str(folder)).lengths.tolist() == [6, 9]
    (folder / "meta/tasks.jsonl").write_text('{"task_index": 0}')
    with pytest.raises(UserError, match=r"tasks.jsonl: task is None, not a text"):
        open_lerobot(str(folder))


def test_episodes_are_listed_in_any_order(tmp_path):
    folder = lerobots.write(tmp_path, "v3.0")
    path = folder / "meta/episodes/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(path).take([1, 0]), path)
    source = open_lerobot(str(folder))
    assert source.lengths.tolist() == [6, 9]
    frames = source.recording(1, [TOP]).cameras[TOP]
    np.testing.assert_array_equal(frames.read(range(9)), videos.decode(tmp_path / "1.mp4"))
    lerobots.edit(path, **{"data/chunk_index": [0, None]})
    with pytest.raises(UserError, match="data/chunk_index is not an integer everywhere"):
        open_lerobot(str(folder))


def test_a_part_of_a_video_that_cannot_be(tmp_path):
    folder = lerobots.write(tmp_path, "v3.0")
    path = folder / "meta/episodes/chunk-000/file-000.parquet"
    for end in (0.5, np.nan):
        lerobots.edit(path, **{f"videos/{TOP}/to_timestamp": [end, 0.9]})
        refused(folder, "episode 0 is stated to last from 0 to .*too short for 6 steps", TOP)
    shutil.rmtree(folder / "meta/episodes")
    with pytest.raises(UserError, match="meta/episodes: no list of episodes"):
        open_lerobot(str(folder))


def test_groups_of_rows_without_the_episode_are_not_read(tmp_path):
    folder = lerobots.write(tmp_path, "v3.0")
    path = lerobots.data_file(folder, "v3.0", 0)
    layout = pq.read_metadata(path)
    assert layout.num_row_groups == 2
    damage = layout.row_group(1).column(0).dictionary_page_offset
    data = bytearray(path.read_bytes())
    data[damage : damage + 20] = bytes(20)
    path.write_bytes(data)
    read(folder, "action")
    refused(folder, "no sound Parquet file", "action", episode=1)


@pytest.mark.parametrize("values", [["0"] * 6, [b"0"] * 6, [[0]] * 6])
def test_numbers_of_episodes_that_are_none(tmp_path, values):
    folder = lerobots.write(tmp_path, "v2.1")
    lerobots.edit(lerobots.data_file(folder, "v2.1", 0), episode_index=values)
    refused(folder, "episode_000000.parquet: ", "action")


def test_too_many_rows(written, monkeypatch):
    monkeypatch.setattr("data_pipelines.sources.parquet.MAX_ROWS", 5)
    refused(written[1], "6 rows at once; at most 5 are read", "action")


def test_too_many_numbers_in_a_row(written, monkeypatch):
    """A few bytes may stand for lists of any length."""
    monkeypatch.setattr("data_pipelines.sources.parquet.MAX_VALUES", 23)
    refused(written[1], "24 values at once; at most 23 are read", "action")


def test_arrays_as_the_datasets_library_marks_them(tmp_path):
    """Its own type of array arrives as such once that library is loaded."""

    class Marked(pa.ExtensionType):
        def __init__(self):
            super().__init__(pa.list_(pa.list_(pa.int64())), "tests.marked")

        def __arrow_ext_serialize__(self):
            return b""

        @classmethod
        def __arrow_ext_deserialize__(cls, storage, serialized):
            return cls()

    folder = lerobots.write(tmp_path, "v2.1")
    path = lerobots.data_file(folder, "v2.1", 0)
    rows = pq.read_table(path)
    grid = rows["observation.grid"].combine_chunks()
    pa.register_extension_type(Marked())
    try:
        marked = pa.ExtensionArray.from_storage(Marked(), grid)
        place = rows.column_names.index("observation.grid")
        pq.write_table(rows.set_column(place, "observation.grid", marked), path)
        found = open_lerobot(str(folder)).recording(0, ["observation.grid"])
    finally:
        pa.unregister_extension_type("tests.marked")
    np.testing.assert_array_equal(found.features["observation.grid"], grid.to_pylist())
