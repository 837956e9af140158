"""The data set that is measured is the run's own, and of several the one that is named."""

import shutil

import numpy as np
import pytest

from data_pipelines import windows
from tests.evaluation import tiny_run
from vidact.errors import UserError
from vidact.evaluation import members, opening


def test_the_same_data_elsewhere_is_the_runs(run, tmp_path):
    shutil.copytree(run.config.data.root, tmp_path / "moved" / "1.0.0")
    run.config.data.root = str(tmp_path / "moved" / "1.0.0")
    dataset = opening.held_out(run)
    assert len(dataset) and members.told(run, dataset.source) == "squares"


def test_another_data_set_is_refused_unless_it_is_meant(run, tmp_path):
    run.config.data.root = str(tiny_run.write_data(tmp_path, name="circles"))
    with pytest.raises(UserError, match=r"named circles, the run's squares\), .*--other-data"):
        opening.held_out(run)
    dataset = opening.held_out(run, other_data=True)
    assert members.told(run, dataset.source) == "circles, not the run's own"


def test_data_that_changed_since_are_refused(run, tmp_path):
    run.config.data.root = str(tiny_run.write_data(tmp_path, episodes=9))
    with pytest.raises(UserError, match=r"not the data that .* was trained on .*changed since"):
        opening.held_out(run)


def test_other_data_of_another_robot_are_refused(run, tmp_path):
    run.config.data.root = str(tiny_run.write_data(tmp_path, name="arm", columns=3))
    with pytest.raises(UserError, match=r"arm.* 3 dimensions, the run's 4"):
        opening.held_out(run, other_data=True)


def test_of_several_data_sets_one_is_to_be_named(mixture):
    run = opening.open_run(mixture, None, [])
    with pytest.raises(UserError, match="squares, gripper; name the one"):
        opening.held_out(run)


def test_windows_are_those_of_the_named_data_set(mixture):
    for number, (name, episodes) in enumerate((("squares", tiny_run.EPISODES), ("gripper", 5))):
        asked = [f"--config.evaluate.data_set={name}"]
        dataset = opening.held_out(opening.open_run(mixture, None, asked))
        _, held = windows.split_episodes(episodes, dataset.config.held_out)
        found = np.unique(dataset.windows.all().episodes)
        np.testing.assert_array_equal(found, dataset.source.begins[number] + held)
        assert set(dataset.load(np.arange(len(dataset))).dataset_id.tolist()) == {number}


def test_a_data_set_that_holds_nothing_out_is_named(gripper):
    short = tiny_run.write_data(gripper.workdir, name="short", columns=3, episodes=1)
    first, _ = gripper.config.data.sources
    gripper.config.data.sources = (first, (str(short), 3.0, {"gripper": 2}))
    with pytest.raises(UserError, match=r"short/1\.0\.0.*: none of its episodes is held out"):
        opening.held_out(gripper, other_data=True)
