"""One door to every form of data, and all of them in one run."""

import numpy as np
import pytest

from data_pipelines import convert, pipeline
from data_pipelines.sources.opening import KINDS, open_source
from tests.data_pipelines import hdf5_files, shards
from tests.data_pipelines.sources import lerobots, videos
from vidact.errors import UserError


@pytest.fixture
def roots(tmp_path) -> dict[str, str]:
    """A small data set of each kind."""
    (tmp_path / "hdf5").mkdir()
    found = {
        "rlds": shards.write(tmp_path / "rlds", [shards.episode(i) for i in range(3)]),
        "lerobot": lerobots.write(tmp_path / "lerobot", "v3.0"),
        "hdf5": hdf5_files.libero(tmp_path / "hdf5" / "open_drawer_demo.hdf5"),
        "folder": tmp_path / "people",
    }
    for number in range(2):
        videos.write(found["folder"] / f"{number}.mp4", videos.pixels(8, number))
        (found["folder"] / f"{number}.txt").write_text("make some tea")
    found["converted"] = tmp_path / "converted"
    arguments = ["--source", f"rlds:{found['rlds']}", "--out", str(found["converted"])]
    convert.main(arguments)
    return {kind: str(path) for kind, path in found.items()}


def test_a_bare_folder_is_told_by_what_lies_in_it(roots):
    assert set(roots) == set(KINDS)
    for kind, root in roots.items():
        found, named = open_source(root), open_source(f"{kind}:{root}")
        assert type(found) is type(named) and len(found) == len(named) > 0
        assert all(path.exists() for path in found.files) and found.files


def test_nothing_there(tmp_path):
    with pytest.raises(UserError, match=r"no such folder; .* converted, lerobot, rlds, hdf5"):
        open_source(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="no features"):
        open_source(str(tmp_path))


def test_all_kinds_in_one_run(roots):
    """Robots of other widths, and videos of people, who move no robot."""
    own = {
        "rlds": {},
        "lerobot": {
            "image_key": lerobots.TOP,
            "state_key": "observation.state",
            "instruction_key": "task",
        },
        "hdf5": {
            "image_key": "obs/agentview_rgb",
            "action_key": "actions",
            "state_key": "obs/ee_pos",
        },
        "folder": {
            "image_key": "image",
            "action_key": "",
            "state_key": "",
            "instruction_key": "instruction",
        },
    }
    sources = tuple((f"{kind}:{roots[kind]}", 1.0, keys) for kind, keys in own.items())
    config = shards.config("", sources=sources, balance=False, fps=0.0, held_out=0.0, fit="crop")
    dataset = pipeline.make_dataset(config, seed=0, batch_size=8)
    assert dataset.widths == {"action": 7, "state": 3}
    batch = dataset.batch_at(0)
    assert np.bincount(batch.dataset_id).tolist() == [2, 2, 2, 2]
    rows = {kind: batch.dataset_id == number for number, kind in enumerate(own)}
    assert set(batch.fps[rows["rlds"]]) == {20.0} and set(batch.fps[rows["folder"]]) == {10.0}
    assert not batch.action_mask[rows["folder"]].any()
    assert not batch.actions[rows["folder"]].any() and not batch.state[rows["folder"]].any()
    for kind, width in (("rlds", 2), ("lerobot", 2), ("hdf5", 7)):
        mask = batch.action_mask[rows[kind]]
        assert mask[:, 0, :width].all() and not mask[..., width:].any()
    assert (batch.pixels[rows["folder"]].std((1, 2, 3)) > 5).all()
    # What the readers give is what their own tests compare with the files.
    again = pipeline.make_dataset(config, seed=0, batch_size=8).batch_at(0)
    for name, value in batch.as_dict().items():
        np.testing.assert_array_equal(value, again.as_dict()[name])


def test_a_key_that_is_not_a_data_sets_own(roots):
    config = shards.config("", sources=((roots["rlds"], 1.0, {"frames": 3}),))
    with pytest.raises(UserError, match="'frames' is no key of one data set; those are registry"):
        pipeline.make_dataset(config, seed=0, batch_size=2)
