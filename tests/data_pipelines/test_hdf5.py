"""robomimic's and LIBERO's HDF5 files: what was written comes back, frame by frame."""

import concurrent.futures
import os
import shutil
import subprocess
import sys
import tracemalloc

import h5py
import numpy as np
import pytest
from etils import epath

from data_pipelines.sources import hdf5_source
from data_pipelines.sources.hdf5 import is_hdf5, open_hdf5
from data_pipelines.sources.recording import Feature, Frames, Source
from tests import tiny
from tests.data_pipelines import hdf5_files
from tests.data_pipelines.hdf5_files import AGENT, SIZE, WRIST, edit, stored
from vidact.errors import UserError

MASKS = {"train": ["demo_2", "demo_0"], "valid": ["demo_1"], "20_percent": ["demo_0"]}


@pytest.fixture
def libero(tmp_path):
    return hdf5_files.libero(tmp_path / "open_the_top_drawer_demo.hdf5")


def test_libero_comes_back_as_written(libero):
    source = open_hdf5(str(libero))
    assert isinstance(source, Source)
    assert len(source) == 3
    assert source.fps == 20.0
    assert source.lengths.tolist() == [5, 7, 4]
    assert source.name == f"{libero} split train"
    assert source.features[AGENT] == Feature("image", (SIZE, SIZE, 3))
    assert source.features["obs/ee_pos"] == Feature("array", (3,))
    assert source.features["rewards"] == Feature("array", ())
    assert source.features["language_instruction"] == Feature("text")
    assert set(source.features) == {
        *("actions", "dones", "language_instruction", AGENT, WRIST, "rewards", "robot_states"),
        *("obs/ee_ori", "obs/ee_pos", "obs/ee_states", "obs/gripper_states", "obs/joint_states"),
        "states",
    }
    numbers = ("actions", "obs/ee_pos", "rewards", "robot_states")
    found = source.recording(1, [*numbers, "language_instruction", WRIST])
    assert (found.index, found.steps, found.name) == (1, 7, f"{libero}: demo_1")
    assert set(found.features) == {*numbers, "language_instruction"}
    for name in numbers:
        want = stored(libero, f"data/demo_1/{name}")
        assert found.features[name].dtype == want.dtype
        np.testing.assert_array_equal(found.features[name], want)
    texts = found.features["language_instruction"]
    assert texts.dtype == object
    assert texts.tolist() == ["open the top drawer of the cabinet"] * 7
    assert found.metadata == {
        "file": libero.name,
        "demo": "demo_1",
        "image_convention": "opengl",
    }
    with pytest.raises(IndexError):
        source.recording(3, ["actions"])


@pytest.mark.parametrize("steps", [[0], [6], [0, 1, 2, 3, 4, 5, 6], [1, 1, 4, 4, 6], []])
def test_frames_are_the_stored_ones(libero, steps):
    frames = open_hdf5(str(libero)).recording(1, [AGENT]).cameras[AGENT]
    assert isinstance(frames, Frames)
    assert len(frames) == 7
    want = stored(libero, f"data/demo_1/{AGENT}")
    found = frames.read(steps)
    assert len(found) == len(steps)
    for step, frame in zip(steps, found):
        np.testing.assert_array_equal(frame, want[step])


def test_order_is_that_of_the_numbers(tmp_path):
    path = hdf5_files.libero(tmp_path / "a.hdf5", lengths=range(1, 13))
    assert open_hdf5(str(path)).lengths.tolist() == list(range(1, 13))
    with h5py.File(path, "a") as file:
        del file["data/demo_3"], file["data/demo_10"]  # demonstrations that failed leave gaps
    source = open_hdf5(str(path))
    assert [source.recording(i, []).name.split()[-1] for i in (2, 3, 9)] == [
        "demo_2",
        "demo_4",
        "demo_11",
    ]


@pytest.mark.parametrize("version", ["v0.2", "v0.3"])
def test_robomimic_and_its_splits(tmp_path, version):
    path = hdf5_files.robomimic(tmp_path / "image.hdf5", masks=MASKS, version=version)
    train, valid = open_hdf5(str(path)), open_hdf5(str(path), "valid")
    assert train.lengths.tolist() == [6, 8]
    assert valid.lengths.tolist() == [3]
    assert train.fps == 20.0
    assert train.fingerprint != valid.fingerprint
    camera = "obs/agentview_image"
    found = train.recording(1, ["actions", "language_instruction", camera])
    assert found.name == f"{path}: demo_2"
    assert found.features["language_instruction"].tolist() == [""] * 8
    assert found.metadata == {"file": "image.hdf5", "demo": "demo_2"}
    want = stored(path, f"data/demo_2/{camera}")
    np.testing.assert_array_equal(found.cameras[camera].read([0, 3, 3, 7]), want[[0, 3, 3, 7]])
    further = "action_dict/abs_rot_6d" if version == "v0.3" else "next_obs/object"
    other = valid.recording(0, [further]).features[further]
    np.testing.assert_array_equal(other, stored(path, f"data/demo_1/{further}"))
    with pytest.raises(UserError, match=r"no split 'test'; config.data.split is one of: train, va"):
        open_hdf5(str(path), "test")


def test_without_masks_there_is_only_train(libero):
    with pytest.raises(UserError, match=r"no split 'valid'; config.data.split is one of: train$"):
        open_hdf5(str(libero), "valid")


def test_a_folder_is_its_files_in_order(tmp_path):
    hdf5_files.libero(tmp_path / "b.hdf5", (2, 3), "push the plate", seed=1)
    hdf5_files.libero(tmp_path / "a.h5", (4,), "open the drawer", seed=2)
    (tmp_path / ".c.hdf5").write_bytes(b"half copied")
    (tmp_path / "readme.txt").write_text("not data")
    source = open_hdf5(str(tmp_path))
    assert source.lengths.tolist() == [4, 2, 3]
    texts = [source.recording(i, ["language_instruction"]).features for i in range(3)]
    assert [text["language_instruction"][0] for text in texts] == [
        "open the drawer",
        "push the plate",
        "push the plate",
    ]
    for index, (name, demo) in enumerate([("a.h5", 0), ("b.hdf5", 0), ("b.hdf5", 1)]):
        want = stored(tmp_path / name, f"data/demo_{demo}/actions")
        np.testing.assert_array_equal(
            source.recording(index, ["actions"]).features["actions"], want
        )


def test_features_are_those_of_all_files(tmp_path):
    hdf5_files.robomimic(tmp_path / "a.hdf5", objects=10)
    hdf5_files.robomimic(tmp_path / "b.hdf5", objects=14, version="v0.3")
    edit(tmp_path / "b.hdf5", "data/demo_0/rewards", demo_0__rewards=np.zeros((6, 2)))
    source = open_hdf5(str(tmp_path))
    assert source.features["obs/object"] == Feature("array", (None,))
    assert source.features["rewards"] == Feature("other")
    assert not {"next_obs/object", "actions_abs"} & set(source.features)
    assert source.recording(3, ["obs/object"]).features["obs/object"].shape == (6, 14)
    for path in ("next_obs/object", "rewards", "obs/nothing"):
        with pytest.raises(UserError, match=rf"demo_0: {path}: no feature .* those are actions, "):
            source.recording(0, [path])


def test_what_holds_no_numbers_is_listed_but_not_read(libero):
    records = np.zeros(5, [("a", "f4")])
    texts = np.array(["a"] * 5, h5py.string_dtype())
    edit(libero, demo_0__texts=texts, demo_0__records=records, demo_0__one=3.0)
    source = open_hdf5(str(libero))
    assert {source.features[name] for name in ("texts", "records", "one")} == {Feature("other")}


@pytest.mark.parametrize(
    ("stated", "text"),
    [
        ('"put the bowl on the plate"', "put the bowl on the plate"),
        (["put", "the", "bowl", "on", "the", "plate"], "put the bowl on the plate"),
        (['"put', 'the', 'bowl"'], "put the bowl"),
        ("  put\n the  bowl ", "put the bowl"),
        ("", ""),
    ],
)  # fmt: skip
def test_forms_of_the_instruction(tmp_path, stated, text):
    source = open_hdf5(str(hdf5_files.libero(tmp_path / "a.hdf5", instruction=stated)))
    found = source.recording(0, ["language_instruction"]).features["language_instruction"]
    assert set(found) == {text}


def test_lengths_are_those_of_the_actions_where_no_number_is_stated(libero):
    with h5py.File(libero, "a") as file:
        for demo in file["data"].values():
            del demo.attrs["num_samples"]
    assert open_hdf5(str(libero)).lengths.tolist() == [5, 7, 4]


@pytest.mark.parametrize(
    ("told", "fps"),
    [
        ("{}", None),
        ('{"env_kwargs": null}', None),
        ('{"env_kwargs": {"control_freq": 15.5}}', 15.5),
    ],
)
def test_rates(libero, told, fps):
    with h5py.File(libero, "a") as file:
        file["data"].attrs["env_args"] = told
    assert open_hdf5(str(libero)).fps == fps
    with h5py.File(libero, "a") as file:
        file["data"].attrs["env_args"] = np.bytes_(told)  # of fixed length, as some tools write
    assert open_hdf5(str(libero)).fps == fps


def test_files_of_different_rates_are_refused(tmp_path, libero):
    with h5py.File(hdf5_files.libero(tmp_path / "zzz.hdf5"), "a") as file:
        file["data"].attrs["env_args"] = "{}"
    with pytest.raises(UserError, match=r"zzz.hdf5: control_freq is None where .* has 20.0; put"):
        open_hdf5(str(tmp_path))


def test_the_fingerprint_knows_the_data_not_the_place(tmp_path, libero):
    first = open_hdf5(str(libero)).fingerprint
    copy = tmp_path / "elsewhere" / libero.name
    copy.parent.mkdir()
    shutil.copy(libero, copy)
    os.utime(copy, (0, 0))
    assert open_hdf5(str(copy)).fingerprint == first
    assert open_hdf5(str(copy.parent)).fingerprint == first
    assert open_hdf5(str(copy.rename(copy.with_name("other.hdf5")))).fingerprint != first
    with h5py.File(libero, "a") as file:
        file["data"].attrs["tag"] = "libero-v2"
    assert open_hdf5(str(libero)).fingerprint != first


@pytest.mark.parametrize("packed", [{}, {"compression": "gzip", "chunks": (4, 32, 32, 3)}])
def test_a_frame_does_not_cost_an_episode(libero, packed):
    frames = np.random.default_rng(0).integers(0, 256, (800, 64, 64, 3), dtype=np.uint8)
    with h5py.File(libero, "a") as file:
        del file["data/demo_0"]
        demo = file.create_group("data/demo_0")
        demo.create_dataset("obs/agentview_rgb", data=frames, **packed)
        demo.attrs["num_samples"] = len(frames)
    camera = open_hdf5(str(libero)).recording(0, [AGENT]).cameras[AGENT]
    tracemalloc.start()
    try:
        found = camera.read([3, 500, 799])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(found, frames[[3, 500, 799]])
    assert peak < 1_000_000 < frames.nbytes / 9
    assert camera.nbytes == 0


def test_threads_read_the_same(tmp_path, monkeypatch):
    """More files than stay open, so that files are closed while others read."""
    monkeypatch.setattr(hdf5_source, "_OPEN_FILES", 2)
    for number in range(5):
        hdf5_files.libero(tmp_path / f"{number}.hdf5", (4, 6), seed=number)
    source = open_hdf5(str(tmp_path))
    kept = [source.recording(i, [AGENT, "actions"]) for i in range(len(source))]

    def read(index: int) -> None:
        place = f"data/demo_{index % 2}"
        path = tmp_path / f"{index // 2}.hdf5"
        again = source.recording(index, ["actions"])
        np.testing.assert_array_equal(again.features["actions"], kept[index].features["actions"])
        frames = np.stack(kept[index].cameras[AGENT].read(range(kept[index].steps)))
        np.testing.assert_array_equal(frames, wanted[path, place])

    wanted = {
        (path, f"data/demo_{demo}"): stored(path, f"data/demo_{demo}/{AGENT}")
        for path in tmp_path.iterdir()
        for demo in range(2)
    }
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(read, list(range(10)) * 20))


def test_two_sources_of_one_file_do_not_disturb_each_other(libero):
    first = open_hdf5(str(libero))
    frames = first.recording(0, [AGENT]).cameras[AGENT]
    second = open_hdf5(str(libero))
    second.recording(0, ["actions"])
    del second
    np.testing.assert_array_equal(frames.read([2])[0], stored(libero, f"data/demo_0/{AGENT}")[2])


def test_which_paths_are_hdf5(tmp_path, libero):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert is_hdf5(epath.Path(libero))
    assert is_hdf5(epath.Path(tmp_path))
    assert is_hdf5(epath.Path(tmp_path / "missing.h5"))
    assert not is_hdf5(epath.Path(empty))
    assert not is_hdf5(epath.Path(tmp_path / "nowhere"))
    assert not is_hdf5(epath.Path(tmp_path / "features.json"))


def test_roots_that_cannot_be_read(tmp_path, libero, monkeypatch):
    empty = tmp_path / "empty"
    empty.mkdir()
    for root, told in [
        (tmp_path / "missing.hdf5", "missing.hdf5: no such file or folder; set config.data.root"),
        (empty, "empty: no .hdf5 or .h5 file; give one"),
        ("gs://bucket/a.hdf5", "gs://bucket/a.hdf5: HDF5 is read from this machine's folders"),
    ]:
        with pytest.raises(UserError, match=told):
            open_hdf5(str(root))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=r"h5py: not installed; run `pip install vidact\[hdf5\]`"):
        open_hdf5(str(libero))


def test_importing_it_needs_no_h5py():
    code = "import sys; sys.modules['h5py'] = None; import data_pipelines.sources.hdf5"
    done = subprocess.run([sys.executable, "-c", code], cwd=tiny.ROOT, check=False)
    assert done.returncode == 0
