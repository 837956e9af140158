"""HDF5 files that are damaged, of another form or reach beyond themselves: one line says where."""

import pathlib

import h5py
import numpy as np
import pytest

from data_pipelines.sources import hdf5_tree
from data_pipelines.sources.hdf5 import open_hdf5
from tests.data_pipelines import hdf5_files
from tests.data_pipelines.hdf5_files import AGENT, edit, stored
from vidact.errors import UserError

MEND = "mend or remove the demonstration"


@pytest.fixture
def libero(tmp_path):
    return hdf5_files.libero(tmp_path / "open_the_top_drawer_demo.hdf5")


def one_line(found: pytest.ExceptionInfo) -> str:
    (line,) = str(found.value).splitlines()
    return line


def refused(path: pathlib.Path, feature: str, index: int = 1) -> str:
    """What reading a feature says, after opening went well."""
    source = open_hdf5(str(path))
    with pytest.raises(UserError) as found:
        source.recording(index, [feature])
    return one_line(found)


def test_no_hdf5_and_truncated_files(libero):
    whole = libero.read_bytes()
    for size in (0, 100, len(whole) // 2, len(whole) - 1):
        libero.write_bytes(whole[:size])
        with pytest.raises(UserError) as found:
            open_hdf5(str(libero))
        line = one_line(found)
        assert line.startswith(f"{libero}: cannot be read (")
        assert line.endswith("copy or download the file again")
    libero.write_text("not HDF5 " * 1000)
    with pytest.raises(UserError, match=r"cannot be read .*signature not found"):
        open_hdf5(str(libero))


def test_a_damaged_frame_names_its_place_and_spares_the_rest(tmp_path):
    path = hdf5_files.robomimic(tmp_path / "image.hdf5", version="v0.3")
    camera = "obs/agentview_image"
    with h5py.File(path, "r") as file:
        chunk = file[f"data/demo_1/{camera}"].id.get_chunk_info(0)
    data = bytearray(path.read_bytes())
    data[chunk.byte_offset + 50 : chunk.byte_offset + 60] = bytes(10)
    path.write_bytes(data)
    source = open_hdf5(str(path))
    assert source.lengths.tolist() == [6, 3, 8]
    found = source.recording(1, [camera, "actions"])
    np.testing.assert_array_equal(found.features["actions"], stored(path, "data/demo_1/actions"))
    with pytest.raises(UserError) as error:
        found.cameras[camera].read([0, 2])
    line = one_line(error)
    assert line.startswith(f"{path}: demo_1: {camera} at step 0: cannot be read (")
    assert len(source.recording(0, [camera]).cameras[camera].read([0, 5])) == 2


def test_a_missing_dataset(libero):
    edit(libero, "data/demo_1/robot_states")
    assert refused(libero, "robot_states") == f"{libero}: demo_1: robot_states: is missing; {MEND}"


def test_what_is_not_finite(libero):
    edit(libero, "data/demo_1/rewards", demo_1__rewards=np.array([0, 0, 0, 0, 0, np.inf, 0]))
    edit(libero, "data/demo_0/rewards", demo_0__rewards=np.zeros(5))
    with h5py.File(libero, "a") as file:
        file["data/demo_1/actions"][3, 2] = np.nan
    assert refused(libero, "actions") == (
        f"{libero}: demo_1: actions at step 3, dimension 2 is nan; mend or remove the episode"
    )
    assert (
        refused(libero, "rewards")
        == f"{libero}: demo_1: rewards at step 5 is inf; mend or remove the episode"
    )


def test_other_lengths_and_shapes(libero):
    edit(libero, f"data/demo_1/{AGENT}", demo_1__obs__agentview_rgb=np.zeros((6, 12, 12, 3), "u1"))
    edit(libero, f"data/demo_2/{AGENT}", demo_2__obs__agentview_rgb=np.zeros((4, 12, 12, 1), "u1"))
    edit(libero, "data/demo_2/actions", demo_2__actions=np.zeros((4, 8)))
    assert refused(libero, AGENT) == (
        f"{libero}: demo_1: {AGENT}: has 6 rows where the demonstration has 7 steps; "
        "mend or remove it"
    )
    for name, told in (
        (AGENT, "is array (12, 12, 1) where others are image (12, 12, 3)"),
        ("actions", "is array (8,) where others are array (7,)"),
    ):
        assert refused(libero, name, 2) == f"{libero}: demo_2: {name}: {told}; {MEND}"


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        (0, "0 steps, must be 1 to 10000000; remove it"),
        (-3, "-3 steps, must be"),
        (10**12, "1000000000000 steps, must be"),
        ("many", "num_samples is 'many'; write a whole number"),
        (np.arange(3), r"num_samples is \[0, 1, 2\]; write"),
    ],
)
def test_wrong_numbers_of_steps(libero, stated, told):
    with h5py.File(libero, "a") as file:
        file["data/demo_1"].attrs["num_samples"] = stated
    with pytest.raises(UserError, match=f"demo_1: {told}"):
        open_hdf5(str(libero))


@pytest.mark.parametrize(
    ("attribute", "stated", "told"),
    [
        ("problem_info", "{", "attribute problem_info: no JSON"),
        ("problem_info", "[1]", "attribute problem_info: no JSON object"),
        ("problem_info", 3, "attribute problem_info: no JSON"),
        ("problem_info", '{"language_instruction": 3}', "language_instruction is no text"),
        ("env_args", '{"env_kwargs": {"control_freq": 0}}', "control_freq is 0; write steps"),
        ("env_args", '{"env_kwargs": {"control_freq": "20"}}', "control_freq is '20'; write"),
        ("env_args", '{"env_kwargs": {"control_freq": NaN}}', "control_freq is nan; write"),
        ("env_args", "[" * 100_000, "attribute env_args: no JSON"),
    ],
)
def test_wrong_attributes(libero, attribute, stated, told):
    with h5py.File(libero, "a", libver="latest") as file:
        del file["data"].attrs[attribute]
        file["data"].attrs[attribute] = stated
    with pytest.raises(UserError, match=told) as found:
        open_hdf5(str(libero))
    assert one_line(found).startswith(f"{libero}: ")


def test_files_of_another_form(tmp_path):
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        file["observations/qpos"] = np.zeros((3, 14))
    with pytest.raises(UserError, match=r"no group 'data'; give a file in robomimic's form"):
        open_hdf5(str(path))
    with h5py.File(path, "a") as file:
        file.create_group("data")
    with pytest.raises(UserError, match="split 'train' holds no demonstrations"):
        open_hdf5(str(path))
    with h5py.File(path, "a") as file:
        file["data/demo_0"] = np.zeros(3)
    with pytest.raises(UserError, match="data/demo_0: not a group of datasets"):
        open_hdf5(str(path))
    with h5py.File(path, "a") as file:
        del file["data/demo_0"]
        file["data/demo_0/states"] = np.zeros(3)
    with pytest.raises(UserError, match="demo_0: neither num_samples nor actions"):
        open_hdf5(str(path))
    with h5py.File(path, "a") as file:
        file["data/episode_1/actions"] = np.zeros(3)
    with pytest.raises(UserError, match=r"data/episode_1: no demonstration's name"):
        open_hdf5(str(path))


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["demo_7"], "mask/train: 'demo_7' is not in data, or twice; mend the mask"),
        (["demo_1", "demo_1"], "mask/train: 'demo_1' is not in data, or twice"),
        (["demo_0"] * 9, "mask/train: 9 names for 3 demonstrations"),
        ([], "split 'train' holds no demonstrations"),
    ],
)
def test_wrong_masks(tmp_path, names, told):
    path = hdf5_files.robomimic(tmp_path / "a.hdf5", masks={"train": names})
    with pytest.raises(UserError, match=told):
        open_hdf5(str(path))


def test_a_mask_that_is_no_list(tmp_path):
    path = hdf5_files.robomimic(tmp_path / "a.hdf5")
    with h5py.File(path, "a") as file:
        file["mask/train/inner"] = np.zeros(3)
    with pytest.raises(UserError, match="mask/train: not a list of names"):
        open_hdf5(str(path))


@pytest.fixture
def outside(tmp_path):
    """A sound file beside, which nothing may be read from."""
    folder = tmp_path / "outside"
    folder.mkdir()
    return hdf5_files.libero(folder / "secret.hdf5")


@pytest.mark.parametrize(
    "place", ["data", "data/demo_1", "data/demo_0/obs", "data/demo_0/actions", "mask"]
)
@pytest.mark.parametrize("kind", ["external", "soft"])
def test_links_are_refused_when_the_file_is_opened(libero, outside, place, kind):
    with h5py.File(libero, "a") as file:
        if place != "mask":
            file.move(place, f"aside/{place}")
        if kind == "external":
            file[place] = h5py.ExternalLink(str(outside), place)
        else:
            file[place] = h5py.SoftLink(f"/aside/{place}")
    with pytest.raises(UserError, match="is a link, which may lead to other files; copy the data"):
        open_hdf5(str(libero))


@pytest.mark.parametrize("place", ["obs", "obs/ee_pos"])
def test_links_of_later_demonstrations_are_refused_when_read(libero, outside, place):
    edit(libero, f"data/demo_1/{place}")
    with h5py.File(libero, "a") as file:
        file[f"data/demo_1/{place}"] = h5py.ExternalLink(str(outside), f"data/demo_1/{place}")
    assert refused(libero, "obs/ee_pos").startswith(f"{libero}: data/demo_1/obs/ee_pos: is a link")


def test_a_dangling_link_is_a_link(libero):
    edit(libero, "data/demo_0/actions")
    with h5py.File(libero, "a") as file:
        file["data/demo_0/actions"] = h5py.ExternalLink("nowhere.hdf5", "/actions")
    with pytest.raises(UserError, match="demo_0: actions: is a link"):
        open_hdf5(str(libero))


def test_numbers_in_other_files_are_refused(libero, outside, tmp_path):
    (tmp_path / "secret.raw").write_bytes(bytes(8 * 49))
    layout = h5py.VirtualLayout((7, 3), "f8")
    layout[:] = h5py.VirtualSource(str(outside), "data/demo_1/obs/ee_pos", (7, 3))
    edit(libero, "data/demo_1/actions", "data/demo_1/obs/ee_pos")
    with h5py.File(libero, "a") as file:
        raw = [(str(tmp_path / "secret.raw"), 0, 8 * 49)]
        file.create_dataset("data/demo_1/actions", (7, 7), "f8", external=raw)
        file.create_virtual_dataset("data/demo_1/obs/ee_pos", layout)
    for name in ("actions", "obs/ee_pos"):
        told = f"{libero}: demo_1: {name}: its numbers lie in other files; copy them into this one"
        assert refused(libero, name) == told


def test_claims_without_bounds_are_refused(libero):
    edit(libero, "data/demo_1/actions", f"data/demo_1/{AGENT}")
    with h5py.File(libero, "a") as file:
        wide = (7, 2**15, 2**15, 3)
        file.create_dataset("data/demo_1/actions", (7, 2**27), "f4", chunks=(1, 1024))
        file.create_dataset(f"data/demo_1/{AGENT}", wide, "u1", chunks=(1, 2**15, 2**15, 3))
        for name in ("demo_0", "demo_2"):  # so that sizes agree, as far as they are compared
            del file[f"data/{name}/actions"], file[f"data/{name}/{AGENT}"]
            steps = file[f"data/{name}"].attrs["num_samples"]
            file.create_dataset(f"data/{name}/actions", (steps, 2**27), "f4", chunks=(1, 1024))
            file.create_dataset(f"data/{name}/{AGENT}", (steps, *wide[1:]), "u1", chunks=True)
    told = "bytes at once; at most 1073741824 are read"
    assert refused(libero, "actions").endswith(f"3758096384 {told}")
    assert refused(libero, AGENT).endswith(f"3221225472 {told}")
    frames = open_hdf5(str(libero)).recording(0, [AGENT]).cameras[AGENT]
    with pytest.raises(UserError, match=f"at step 1: 3221225472 {told}"):
        frames.read([1])


@pytest.mark.parametrize("kind", ["many", "circle", "ladder"])
def test_too_many_names(libero, kind):
    with h5py.File(libero, "a") as file:
        demo = file["data/demo_0"]
        if kind == "many":
            for number in range(4097):
                demo.create_group(f"more/{number}")
        elif kind == "circle":
            demo["again"] = demo
        else:  # 16 groups, each named 16 times in the one above: 16 ** 16 ways down
            for _ in range(16):
                below, demo = demo, demo.create_group("down")
                for number in range(15):
                    below[f"down_{number}"] = demo
    with pytest.raises(UserError, match="demo_0: more than 4096 names; take out what is no feat"):
        open_hdf5(str(libero))


def test_too_long_an_attribute(tmp_path):
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w", libver="latest") as file:
        file["data/demo_0/actions"] = np.zeros((3, 7))
        file["data"].attrs["long"] = np.zeros(hdf5_tree.MAX_ATTRIBUTE + 1, np.uint8)
    with pytest.raises(UserError, match="attribute long: 16777217 bytes; at most 16777216"):
        open_hdf5(str(path))


@pytest.mark.parametrize("mark", [b"TREE", b"SNOD", b"HEAP", b"GCOL"])
def test_damage_of_the_structure_is_one_line(libero, mark):
    """Groups' trees, nodes and names, and the heap of texts, each overwritten where it begins."""
    libero.write_bytes(libero.read_bytes().replace(mark, b"\0\0\0\0"))
    with pytest.raises(UserError) as found:
        open_hdf5(str(libero))
    line = one_line(found)
    assert line.startswith(f"{libero}: ")
    assert ": cannot be read (" in line


def test_a_name_that_is_no_text(libero):
    with h5py.File(libero, "a") as file:
        file["data/demo_0"][b"\xff\xfe"] = np.zeros(5)
    with pytest.raises(UserError, match=r"demo_0: b'.xff.xfe' is a name that is no UTF-8"):
        open_hdf5(str(libero))
