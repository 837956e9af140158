"""Folders of videos, with CSV tables and without."""

import fractions
import json
import shutil

import numpy as np
import pytest
from etils import epath

from data_pipelines.sources import folder_table
from data_pipelines.sources.folder import is_folder, open_folder
from data_pipelines.sources.recording import Feature, Source
from tests.data_pipelines.sources import lerobots, videos
from vidact.errors import UserError

STEPS = 5
HEADER = "action_0,action_1,instruction,gripper,state_1,state_0"
COLUMNS = ("action", "gripper", "state", "instruction")
DROID = ("0", "1", "2")


def table(steps=STEPS, header=HEADER):
    """Row i: action (i, i + 0.5), gripper -i, state (20, 1e-3 i)."""
    rows = [f'{i},{i + 0.5},"open, slowly",{-i},{i}e-3,20' for i in range(steps)]
    return "\n".join([header, *rows, ""])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Two episodes of two cameras in sub-folders, with tables."""
    root = tmp_path_factory.mktemp("folder")
    for i, (name, steps) in enumerate([("day/b", 7), ("a.1", STEPS)]):
        videos.write(root / f"{name}.mp4", videos.pixels(steps, seed=i))
        videos.write(root / f"{name}.wrist.mkv", videos.pixels(steps, seed=9 + i))
        (root / f"{name}.csv").write_text(table(steps))
    (root / ".cache").mkdir()
    (root / ".cache/c.mp4").write_bytes(b"")
    (root / "._b.mp4").write_bytes(b"")
    (root / "README.md").write_text("Robots")
    return root


@pytest.fixture
def folder(written, tmp_path):
    """A copy to change."""
    return shutil.copytree(written, tmp_path / "folder")


def test_the_description(written):
    source = open_folder(str(written))
    assert isinstance(source, Source)
    assert (len(source), source.fps) == (2, 10.0)
    np.testing.assert_array_equal(source.lengths, [STEPS, 7])  # in order of names: a.1, day/b
    assert source.features == {
        "image": Feature("image", (None, None, 3)),
        "wrist": Feature("image", (None, None, 3)),
        "action": Feature("array", (2,)),
        "instruction": Feature("text"),
        "gripper": Feature("array"),
        "state": Feature("array", (2,)),
    }
    assert is_folder(epath.Path(written))
    assert not is_folder(epath.Path(written / "a.1.mp4"))


def test_an_episode(written):
    recording = open_folder(str(written)).recording(1, [*COLUMNS, "wrist", "image"])
    assert recording.steps == 7
    assert recording.name == str(written / "day/b.mp4")
    steps = np.arange(7)
    np.testing.assert_array_equal(recording.features["action"], np.stack([steps, steps + 0.5], 1))
    np.testing.assert_array_equal(recording.features["gripper"], -steps)
    states = np.stack([np.full(7, 20), steps * 1e-3], 1)
    np.testing.assert_allclose(recording.features["state"], states, rtol=1e-15)
    assert recording.features["instruction"].tolist() == ["open, slowly"] * 7
    for camera, file in (("image", "day/b.mp4"), ("wrist", "day/b.wrist.mkv")):
        whole = videos.decode(written / file)
        np.testing.assert_array_equal(recording.cameras[camera].read([0, 3, 6]), whole[[0, 3, 6]])


def test_only_what_is_asked_for_is_touched(folder):
    source = open_folder(str(folder))
    (folder / "a.1.csv").unlink()
    (folder / "a.1.wrist.mkv").unlink()
    recording = source.recording(0, ["image"])
    assert (recording.features, list(recording.cameras)) == ({}, ["image"])
    with pytest.raises(UserError, match=r"no feature position .*; there are image, wrist, action"):
        source.recording(0, ["position"])


def test_the_files_that_are_read(written):
    names = ["a.1.mp4", "a.1.wrist.mkv", "a.1.csv", "day/b.mp4", "day/b.wrist.mkv", "day/b.csv"]
    assert open_folder(str(written)).files == [epath.Path(written / name) for name in names]


def test_the_fingerprint_is_of_names_and_sizes(folder, written):
    first = open_folder(str(folder)).fingerprint
    (folder / "a.1.csv").touch()
    (folder / ".hidden").write_text("")
    assert open_folder(str(written)).fingerprint == open_folder(str(folder)).fingerprint == first
    (folder / "a.1.csv").write_text(table().replace("0.5", "0.50"))
    second = open_folder(str(folder)).fingerprint
    for path in folder.glob("a.1.*"):
        path.rename(path.with_name(path.name.replace("a.1", "a.2")))
    assert len({first, second, open_folder(str(folder)).fingerprint}) == 3


def plain(root, *names, fps=videos.FPS):
    for i, name in enumerate(names):
        videos.write(root / name, videos.pixels(4 + i, seed=i), fps=fps)
    return root


def test_videos_alone_are_episodes_without_actions(tmp_path):
    root = plain(tmp_path / "people", "cooking/pour.mp4", "x.MOV", "y.mkv")
    videos.write(root / "z.webm", videos.pixels(9), "libvpx-vp9", {"cpu-used": "8"})
    (root / "x.txt").write_text("\ufeffPour the\n tea\n")
    source = open_folder(str(root))
    assert source.features == {
        "image": Feature("image", (None, None, 3)),
        "instruction": Feature("text"),
    }
    np.testing.assert_array_equal(source.lengths, [4, 5, 6, 9])
    texts = [source.recording(i, ["instruction"]).features["instruction"] for i in range(4)]
    assert [set(text) for text in texts] == [{""}, {"Pour the tea"}, {""}, {""}]
    assert texts[1].shape == (5,)
    frames = source.recording(3, ["image"]).cameras["image"]
    np.testing.assert_array_equal(frames.read(range(9)), videos.decode(root / "z.webm"))


def test_videos_without_any_text(tmp_path):
    assert set(open_folder(str(plain(tmp_path, "a.mp4"))).features) == {"image"}


def test_nearly_the_same_rate(tmp_path):
    plain(tmp_path, "a.mp4", fps=30)
    videos.write(tmp_path / "b.mp4", videos.pixels(30), fps=fractions.Fraction(30_000, 1001))
    assert open_folder(str(tmp_path)).fps == 30
    videos.write(tmp_path / "c.mp4", videos.pixels(9), fps=25)
    with pytest.raises(UserError, match=r"c.mp4: 25 frames a second where a has 30; give each"):
        open_folder(str(tmp_path))


def refused(root, message, *paths, split="train"):
    """Opening or reading is refused in one line."""
    with pytest.raises(UserError, match=message) as error:
        open_folder(str(root), split).recording(0, paths)
    assert "\n" not in str(error.value)


def test_no_folder_no_split_no_video(tmp_path):
    refused(tmp_path / "none", "none: no such folder; set config.data.root")
    refused(plain(tmp_path / "a", "a.mp4"), "no split 'test'; .* one of: train", split="test")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/a.avi").write_bytes(b"")
    refused(tmp_path / "b", r"b: no .mp4, .mov, .webm, .mkv files in it or below")
    assert not is_folder(epath.Path(tmp_path / "b"))


def test_a_lerobot_data_set_is_no_folder_of_videos(tmp_path):
    assert not is_folder(epath.Path(lerobots.write(tmp_path, "v2.1")))


def test_links(tmp_path):
    root = plain(tmp_path / "root", "a.mp4")
    plain(tmp_path, "b.mp4")
    (root / "c.mp4").symlink_to(root / "a.mp4")
    assert len(open_folder(str(root))) == 2
    (tmp_path / "link").symlink_to(root)
    assert len(open_folder(str(tmp_path / "link"))) == 2
    (root / "d.mp4").symlink_to("../b.mp4")
    refused(root, r"d.mp4: a link to a folder or out of the data set")
    (root / "d.mp4").unlink()
    (root / "loop").symlink_to(root)
    refused(root, r"loop: a link to a folder")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "a.1.csv").unlink(), "a.1 has no .csv file where day/b has one"),
        (lambda root: (root / "c.csv").write_text(table()), "c.csv: no video c.mp4 beside it"),
        (
            lambda root: (root / "a.1.wrist.mkv").unlink(),
            "day/b has the cameras image, wrist where",
        ),
        (lambda root: plain(root, "a.1.mkv"), "a.1.mp4: a.1.mkv has the same name"),
        (lambda root: plain(root, "a.mp4"), "a.1.wrist.mkv: whose camera this is cannot be told"),
        (lambda root: plain(root, "a.1.image.mp4"), "a.1.image.mp4: whose camera"),
        (lambda root: (root / "a.1.txt").write_text("x"), "has a column instruction; remove"),
        (lambda root: (root / "a.1.mp4").write_bytes(b"x"), r"a.1.mp4: damaged, truncated or"),
        (
            lambda root: videos.write(root / "a.1.wrist.mkv", videos.pixels(6)),
            "a.1.wrist.mkv: 6 frames where a.1.mp4 has 5",
        ),
        (
            lambda root: (root / "a.1.csv").write_text(table(header=HEADER.replace("st", "t"))),
            r"b.csv: other columns than .*a.1.csv",
        ),
    ],
)
def test_files_that_do_not_belong_together(folder, change, message):
    change(folder)
    refused(folder, message)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("", "its header has no, empty or doubled names"),
        ("a,,b,c,d,e", "its header has no, empty or doubled names"),
        ("a,a,b,c,d,e", "its header has no, empty or doubled names"),
        ("a_1,a_2,b,c,d,e", "the 2 columns a_\\* are not just a_0 to a_1"),
        ("a_0,a_00,b,c,d,e", "the 2 columns a_\\* are not just"),
        ("a_0,a,b,c,d,e", "the 1 columns a_\\* are not just"),
        ("image,a,b,c,d,e", "image is a camera too"),
        ('"a', "no CSV file in UTF-8"),
    ],
)
def test_headers_that_cannot_be(folder, header, message):
    for name in ("a.1.csv", "day/b.csv"):
        (folder / name).write_text(table(header=header))
    refused(folder, f"a.1.csv: {message}")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\n3,3.5,", "\n3,nan,", "action_1 at step 3 is 'nan', not a finite number"),
        ("\n3,3.5,", "\n3,,", "action_1 at step 3 is '', not a finite"),
        ("\n3,3.5,", "\n3,x,", "action_1 at step 3 is 'x', not a finite"),
        ("\n3,3.5,", "\n3,-inf,", "action_1 at step 3 is '-inf', not a finite"),
        ("\n3,3.5,", "\n3,", "step 3 has 5 columns where the header has 6"),
        ("\n3,", '\n"3,', "no CSV file in UTF-8"),
        ("\n3,3.5", "\n3,3.5,\n3,3.5", "step 3 has 3 columns"),
    ],
)
def test_rows_that_cannot_be(folder, old, new, message):
    text = table()
    assert old in text
    (folder / "a.1.csv").write_text(text.replace(old, new, 1))
    refused(folder, f"a.1.csv: {message}", "action")


def test_other_bytes_and_sizes(folder, monkeypatch):
    path = folder / "a.1.csv"
    path.write_bytes(b"\xef\xbb\xbf" + table().replace("\n", "\r\n").encode() + b"\r\n")
    found = open_folder(str(folder)).recording(0, ["action"]).features["action"]
    np.testing.assert_array_equal(found[:, 0], np.arange(STEPS))
    path.write_bytes(table().replace("open", "\xe4").encode("latin1"))
    refused(folder, "a.1.csv: no CSV file in UTF-8", "action")
    monkeypatch.setattr(folder_table, "MAX_BYTES", 80)
    refused(folder, "a.1.csv: larger than 80 bytes", "action")


@pytest.mark.parametrize("steps", [4, 6])
def test_another_number_of_rows_than_frames(folder, steps):
    (folder / "a.1.csv").write_text(table(steps))
    refused(folder, f"a.1.csv: {steps} rows where the video has 5 frames", "action")


@pytest.mark.parametrize(
    ("data", "message"), [(b"\xff", "no text in UTF-8"), (b"x" * 70_000, "more than 65536 bytes")]
)
def test_texts_that_cannot_be(tmp_path, data, message):
    (plain(tmp_path, "a.mp4") / "a.txt").write_bytes(data)
    refused(tmp_path, f"a.txt: {message}", "instruction")


def droid(shared, root):
    """Real episodes of DROID as videos and tables: every third row of their 15 Hz."""
    told = {}
    for name in DROID:
        told[name] = json.loads((shared / f"data/droid/{name}.json").read_text())
        for camera, suffix in enumerate((".mp4", ".left.mp4", ".wrist.mp4")):
            source = shared / f"data/droid/videos/{name}/{camera}.mp4"
            shutil.copyfile(source, root / f"{name}{suffix}")
        actions = np.array(told[name]["action.cartesian_position"])[::3]
        joints = np.array(told[name]["observation.state.joint_position"])[::3]
        gripper = np.array(told[name]["observation.state.gripper_position"])[::3, None]
        header = [f"action_{i}" for i in range(6)] + [f"joints_{i}" for i in range(7)]
        rows = np.concatenate([actions, joints, gripper], 1)
        text = told[name]["texts"][0]
        lines = [",".join([*map(repr, row), f'"{text}"']) for row in rows.tolist()]
        header = ",".join([*header, "gripper", "instruction"])
        (root / f"{name}.csv").write_text("\n".join([header, *lines]))
    return told


def test_real_videos(shared, tmp_path):
    told = droid(shared, tmp_path)
    source = open_folder(str(tmp_path))
    assert source.fps == 5.0
    np.testing.assert_array_equal(source.lengths, [56, 89, 137])
    for index, name in enumerate(DROID):
        recording = source.recording(index, ["action", "joints", "gripper", "instruction", "wrist"])
        for key, path in (
            ("action", "action.cartesian_position"),
            ("joints", "observation.state.joint_position"),
            ("gripper", "observation.state.gripper_position"),
        ):
            np.testing.assert_array_equal(recording.features[key], np.array(told[name][path])[::3])
        assert set(recording.features["instruction"]) == set(told[name]["texts"])
        whole = videos.decode(tmp_path / f"{name}.wrist.mp4")
        assert whole.shape[1:] == (192, 320, 3)
        steps = [0, 1, 17, 18, 19, 40, len(whole) - 1]
        np.testing.assert_array_equal(recording.cameras["wrist"].read(steps), whole[steps])
