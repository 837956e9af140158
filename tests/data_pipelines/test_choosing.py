"""Which features are taken for what when nobody says, and when somebody does."""

import argparse

import numpy as np
import pytest

from data_pipelines import choosing
from data_pipelines.sources.recording import Feature
from data_pipelines.subject import Subject
from tests.data_pipelines import shards, tables


def choose(folder, *arguments) -> Subject:
    parser = argparse.ArgumentParser()
    choosing.add_arguments(parser)
    return choosing.choose(parser.parse_args([str(folder), *arguments]))


def test_the_usual_names(tmp_path):
    episodes = [shards.with_wrist(shards.episode(i)) for i in range(2)]
    chosen = choose(shards.write(tmp_path, episodes))
    assert list(chosen.view.cameras) == [shards.CAMERA, shards.WRIST]
    assert chosen.names["action"] == ["action[0]", "action[1]"]
    assert chosen.names["state"] == [f"observation/state[{i}]" for i in range(3)]
    assert chosen.rate == 20.0
    episode = chosen.numbers(1)
    np.testing.assert_array_equal(episode.actions, [[i, 1] for i in range(6)])
    assert set(episode.instructions) == {"Do task 1"}
    assert set(episode.cameras.values()) == {None}


def test_keys_override(tmp_path):
    episodes = [shards.with_wrist(shards.episode(i)) for i in range(2)]
    options = ["--image", shards.WRIST, "--action", "reward", "action", "--state", "discount"]
    chosen = choose(shards.write(tmp_path, episodes), *options)
    assert list(chosen.view.cameras) == [shards.WRIST]
    assert chosen.names["action"] == ["reward", "action[0]", "action[1]"]
    np.testing.assert_array_equal(chosen.numbers(1).actions, [[0, i, 1] for i in range(6)])
    np.testing.assert_array_equal(chosen.numbers(1).states[:, 0], [1, 1, 1, 1, 1, 0])


def test_an_action_of_several_arrays(tmp_path):
    chosen = choose(tables.write(tmp_path))
    assert chosen.names["action"] == [
        "action/gripper",
        "action/world_vector[0]",
        "action/world_vector[1]",
    ]
    assert chosen.names["state"] == [] and chosen.rate is None and not chosen.view.cameras
    episode = chosen.numbers(2)
    np.testing.assert_array_equal(episode.actions, [[10 * i, 2, i] for i in range(tables.STEPS)])
    assert episode.states.shape == (tables.STEPS, 0)
    assert episode.instructions == ["pick"] * tables.STEPS
    assert "cloud" not in chosen.readable


@pytest.mark.parametrize(
    ("features", "action"),
    [
        (["action", "action_dict/gripper"], ["action"]),
        (["robot_action", "state"], ["robot_action"]),
        (["left_action", "right_action"], []),
        (["action.arm", "action.hand", "actions"], ["action.arm", "action.hand"]),
    ],
)
def test_what_is_taken_for_the_action(features, action):
    known = {name: Feature("array", (2,)) for name in features}
    assert list(choosing.guess_arrays(known, ("action",), "action")) == action


def test_a_row_of_the_registry(shared):
    chosen = choose(shared / "data" / "bridge_dataset", "--registry", "auto")
    assert chosen.row.name == "bridge_dataset" and chosen.rate == 5.0
    assert list(chosen.view.cameras) == ["primary", "secondary"]
    assert chosen.names["action"][-1] == "gripper" and len(chosen.names["state"]) == 8
    assert len(chosen.numbers(0)) == 8
