"""What a command may change of a run, and how held-out windows are grouped."""

import dataclasses

import numpy as np
import pytest

from tests.evaluation import tiny_run
from vidact.errors import UserError
from vidact.evaluation import opening


def test_overrides_reach_the_run(workdir):
    arguments = ["--config.evaluate.tasks=()", "--config.evaluate.seed=7"]
    run = opening.open_run(workdir, None, arguments)
    assert (run.config.evaluate.tasks, run.config.evaluate.seed) == ((), 7)
    assert run.config.data.resolution == (64, 64)


@pytest.mark.parametrize(
    ("argument", "named"),
    [
        ("--config.model.depth=2", "fixed by the training"),
        ("--config.evaluate.nonsense=2", "nonsense"),
        ("--config.evaluate.clips=0", "at least 1"),
        ("--config.evaluate.action_steps=-3", "at least 0"),
        ("--config.evaluate.action_guidance=2.0", r"action_guidance=2\.0: .*text_dropout=0\.0"),
        ("--nonsense", "unknown argument"),
    ],
)
def test_wrong_arguments_are_named(workdir, argument, named):
    with pytest.raises(UserError, match=named):
        opening.open_run(workdir, None, [argument])


def test_a_missing_run_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere.*work directory"):
        opening.open_run(tmp_path / "nowhere", None, [])


def test_a_run_that_holds_nothing_out(run):
    run.config.data.held_out = 0
    with pytest.raises(UserError, match="held_out"):
        opening.held_out(run)


def test_windows_are_grouped_by_the_metadata(dataset):
    groups = opening.windows_by_task(dataset)
    assert sum(map(len, groups.values())) == len(dataset)
    for task, windows in groups.items():
        episodes = {int(i) for i in dataset.windows.at(windows).episodes}
        assert {dataset.source.episode(i).metadata["task"] for i in episodes} == {task}


def test_without_a_task_the_data_set_is_the_group(run, tmp_path):
    run.config.data.root = str(tiny_run.write_data(tmp_path / "other", metadata=False))
    dataset = opening.held_out(run, other_data=True)
    assert list(opening.windows_by_task(dataset)) == ["squares"]


def test_an_instruction_names_the_task_where_metadata_do_not(dataset):
    episode = dataclasses.replace(dataset.source.episode(0), metadata={})
    assert opening.task_of(episode) == "drawer-open"
    unknown = dataclasses.replace(episode, instructions=["dance"] * len(episode))
    assert opening.task_of(unknown) is None


def test_full_windows_have_no_padding_and_come_from_every_task(dataset):
    indices = opening.full_windows(dataset, 6)
    assert len(indices) == 6 and len(set(indices)) == 6
    assert dataset.load(indices).frame_mask.all()
    groups = opening.windows_by_task(dataset)
    assert all(np.isin(indices, windows).any() for windows in groups.values())


def test_windows_too_short_are_named(dataset):
    dataset.config.frames = 99
    with pytest.raises(UserError, match="99 frames"):
        opening.full_windows(dataset, 4)


def test_spread_is_even_and_in_order():
    windows = np.arange(100, 200)
    np.testing.assert_array_equal(opening.spread(windows, 4), [112, 137, 162, 187])
    np.testing.assert_array_equal(opening.spread(windows[:3], 10), windows[:3])
