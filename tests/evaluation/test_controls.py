"""Demonstrations by task: training episodes only, but every recorded start."""

import dataclasses

import numpy as np
import pytest

from data_pipelines import windows
from tests.evaluation import tiny_run
from vidact.errors import UserError
from vidact.evaluation import opening, success
from vidact.evaluation.controls import demonstrations


def test_training_actions_and_all_starts(dataset):
    found = demonstrations(dataset, ["drawer-open", "button-press"], 0)
    training, held = windows.split_episodes(tiny_run.EPISODES, dataset.config.held_out)
    assert sum(len(d.actions) for d in found.values()) == len(training) > 0 < len(held)
    assert sum(len(d.starts) for d in found.values()) == tiny_run.EPISODES
    first = dataset.source.episode(int(training[0]))
    recorded = found[str(first.metadata["task"])]
    np.testing.assert_array_equal(recorded.actions[0], first.actions[:-1])
    assert recorded.starts[0].shape == (6,)


def test_a_task_without_demonstrations_is_named(dataset):
    with pytest.raises(UserError, match="window-open"):
        demonstrations(dataset, ["window-open"], 0)


def test_demonstrations_are_training_episodes_of_the_named_data_set(gripper):
    dataset = opening.held_out(gripper)
    begin = int(dataset.source.begins[1])
    training, held = windows.split_episodes(5, dataset.config.held_out)
    found = demonstrations(dataset, list(tiny_run.TASKS), 1)
    read = [actions for recorded in found.values() for actions in recorded.actions]
    expected = [dataset.source.episode(begin + int(i)).actions[:-1] for i in training]
    assert len(read) == len(expected) > 0 < len(held)
    for actions, wanted in zip(read, expected, strict=True):
        np.testing.assert_array_equal(actions, wanted)
    assert sum(len(recorded.starts) for recorded in found.values()) == 5


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"tasks": ("juggle",)}, "juggle"),
        ({"starts": "narrow"}, "narrow"),
        ({"execute": 5}, "execute=5"),
        ({"mode": "video"}, "mode='video': does not act .*; choose joint or policy"),
        ({"mode": "inverse"}, "mode='inverse': does not act"),
    ],
)
def test_settings_that_cannot_work_are_named(run, changes, named):
    run.config.evaluate.update(changes)
    with pytest.raises(UserError, match=named):
        success.check(run)


def test_another_robot_is_named(run):
    whole = run.own["action"]
    half = {f.name: getattr(whole, f.name) for f in dataclasses.fields(whole)}
    half = {name: value if name == "count" else value[:2] for name, value in half.items()}
    other = {"action": type(whole)(**half), "state": run.own["state"]}
    with pytest.raises(UserError, match=r"2 dimensions.*tasks='\(\)'"):
        success.check(dataclasses.replace(run, statistics={run.data_set: other}))


def test_a_run_of_several_cameras_is_refused_before_any_rollout(run):
    run.config.data.update(further_image_keys=("observation/wrist",), tiles=(1, 2))
    with pytest.raises(UserError, match=r"tiles=\(1, 2\): .* one camera; add .*tasks='\(\)'"):
        success.check(run)


def test_another_control_rate_is_refused_before_any_rollout(run):
    with pytest.raises(UserError, match=r"10 actions a second, Meta-World takes 20; add"):
        success.check(dataclasses.replace(run, rates={run.data_set: 10.0}))


def test_frames_of_another_size_are_refused_before_any_rollout(run):
    run.config.data.resolution = (32, 48)
    with pytest.raises(UserError, match=r"resolution=\(32, 48\): .*64"):
        success.check(run)
