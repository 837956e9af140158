"""Columns that are not there and numbers that float32 cannot hold are refused, each in one line."""

import numpy as np
import pytest

from data_pipelines import opening, pipeline
from data_pipelines.oxe.registry import find
from tests.data_pipelines import hdf5_files, shards
from tests.data_pipelines.oxe import fakes
from vidact.errors import UserError

HDF5_KEYS = {"image_key": hdf5_files.AGENT, "action_key": "actions", "state_key": "obs/ee_pos"}


@pytest.mark.parametrize("policy", ["error", "skip"])
@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("gripper", 2, r"gripper=2: .*toy.* has 2 columns, 0 to 1; "),
        ("deltas", (0, 2), r"deltas=\(0, 2\): .* has 2 columns, 0 to 1; "),
        ("deltas", (-1, 0), r"deltas=\(-1, 0\): .* has 2 columns, 0 to 1; "),
        ("action_order", (1, 2), r"action_order=\(1, 2\): .* has 2 columns, 0 to 1; "),
        ("action_order", (-1,), r"action_order=\(-1,\): .* has 2 columns, 0 to 1; "),
        ("action_order", (1, 1), r"action_order=\(1, 1\): names a column twice; "),
    ],
)
def test_columns_that_an_action_lacks(tmp_path, key, value, told, policy):
    root = shards.write(tmp_path, [shards.episode(i) for i in range(3)])
    config = shards.config(root, on_bad_record=policy, **{key: value})
    with pytest.raises(UserError, match=rf"^config\.data\.{told}"):
        opening.open_source(config)


def test_what_has_no_action_has_no_columns_of_it(tmp_path):
    """A run's gripper and displacements are those of its robots; its videos have any rate."""
    root = shards.write(tmp_path, [shards.episode(i) for i in range(3)])
    video = (f"rlds:{root}", 1.0, {"action_key": ""})
    config = shards.config("", sources=(video,), gripper=1, fps=10.0, held_out=0.0)
    found = pipeline.make_dataset(config, seed=0, batch_size=2)
    assert found.widths["action"] == 0 and set(found.batch_at(0).fps) == {10.0}


@pytest.mark.parametrize("key", ["actions", "obs/ee_pos"])
def test_a_number_beyond_float32(tmp_path, key):
    file = hdf5_files.libero(tmp_path / "a.hdf5")
    values = hdf5_files.stored(file, f"data/demo_1/{key}")
    values[3, 2] = -1e39
    changed = {f"demo_1__{key.replace('/', '__')}": values}
    hdf5_files.edit(file, f"data/demo_1/{key}", **changed)
    config = shards.config(f"hdf5:{file}", held_out=0.0, **HDF5_KEYS)
    message = rf"demo_1: {key} at step 3, dimension 2 is -1e\+39, more than float32 holds; mend or"
    with pytest.raises(UserError, match=message):
        pipeline.make_dataset(config, seed=0, batch_size=2)
    config.on_bad_record = "skip"
    assert len(pipeline.make_dataset(config, seed=0, batch_size=2)) == 4 + 3


def test_widths_that_differ_between_files(tmp_path):
    for name, width in (("a", 7), ("b", 6)):
        file = hdf5_files.libero(tmp_path / f"{name}.hdf5", lengths=(4,))
        hdf5_files.edit(file, "data/demo_0/actions", demo_0__actions=np.zeros((4, width)))
    config = shards.config(f"hdf5:{tmp_path}", **HDF5_KEYS)
    with pytest.raises(UserError, match="actions has not the same columns in all episodes; "):
        opening.open_source(config)


def test_columns_that_a_row_wants(tmp_path):
    row = find("taco_play")
    narrow = np.zeros((10, 6), np.float32)
    root = fakes.write(tmp_path, row, action__rel_actions_world=narrow)
    config = shards.config(str(root), registry="auto", fps=0.0, on_bad_record="skip")
    with pytest.raises(
        UserError, match=r"rel_actions_world has 6 columns, .* takes the 7th; is it"
    ):
        opening.open_source(config)


@pytest.mark.parametrize(
    ("name", "stored", "kind"),
    [
        ("language_table", np.array([b"push"] * 10, object), "array"),  # the row reads characters
        ("taco_play", np.zeros((10, 4), np.int32), "text"),
    ],
)
def test_an_instruction_of_another_kind(tmp_path, name, stored, kind):
    row = find(name)
    root = fakes.write(tmp_path, row, **{row.text.replace("/", "__"): stored})
    config = shards.config(str(root), registry="auto", fps=0.0, on_bad_record="skip")
    with pytest.raises(UserError, match=f"{row.text} is no {kind}, as {name} has it by the regis"):
        opening.open_source(config)
