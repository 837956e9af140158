"""The recording command, from its arguments to a data set that TFDS reads."""

import json

import numpy as np
import pytest
import tensorflow_datasets as tfds

from vidact import demos
from vidact.errors import UserError


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    out = tmp_path_factory.mktemp("demos") / "tiny" / "1.0.0"
    changes = {"tasks": ("button-press", "window-open"), "episodes": 2, "seed": 5}
    arguments = ["--out", str(out), *(f"--config.demos.{k}={v}" for k, v in changes.items())]
    demos.main(arguments)
    return out, arguments


def test_the_data_set_is_read_by_tfds(recorded):
    builder = tfds.builder_from_directory(recorded[0])
    assert builder.info.metadata["fps"] == 20.0
    episodes = list(builder.as_data_source("train"))
    facts = [episode["episode_metadata"] for episode in episodes]
    assert [fact["task"] for fact in facts] == [b"button-press"] * 2 + [b"window-open"] * 2
    assert [int(fact["seed"]) for fact in facts] == [5, 6, 5, 6]
    assert all(fact["hand_start"].shape == fact["object_start"].shape == (3,) for fact in facts)
    steps = list(episodes[0]["steps"])
    assert 10 < len(steps) < 60
    assert steps[0]["observation"]["image"].shape == (64, 64, 3)
    assert steps[0]["observation"]["state"].dtype == np.float32
    assert b"button" in steps[0]["language_instruction"]
    flags = [[bool(step[f"is_{k}"]) for step in steps] for k in ("first", "last", "terminal")]
    assert flags[0] == [True] + [False] * (len(steps) - 1)
    assert flags[1] == flags[2] == flags[0][::-1]
    assert [step["reward"] for step in steps][-6:] == [0, 1, 1, 1, 1, 1]


def test_the_same_recording_again_costs_nothing_and_another_is_refused(recorded, capsys):
    out, arguments = recorded
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    demos.main(arguments)
    assert "nothing to do" in capsys.readouterr().out
    with pytest.raises(UserError, match="exists; choose another folder or give --overwrite"):
        demos.main([*arguments, "--config.demos.seed=9"])
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before


def test_it_says_what_it_did(tmp_path, capsys):
    out = tmp_path / "tiny" / "1.0.0"
    changes = ["--config.demos.tasks=('button-press',)", "--config.demos.episodes=1"]
    demos.main(["--out", str(out), *changes])
    printed = capsys.readouterr().out
    assert "button-press: 1 episodes," in printed and "0 dropped" in printed
    facts = json.loads((out / "metadata.json").read_text())
    assert facts["starts"] == "wide" and facts["episodes"] == 1


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--config.demos.tasks=('fly',)", "fly: unknown task; choose from"),
        ("--config.demos.tasks=('push', 'push')", "name one or more tasks, each once"),
        ("--config.demos.tasks=()", "name one or more tasks, each once"),
        ("--config.demos.starts=far", "far: unknown start distribution; choose from wide, stock"),
        ("--config.demos.episodes=0", "config.demos.episodes=0: must be at least 1"),
        ("--config.demos.seed=1000000", "config.demos.seed=1000000: must lie in 0 to"),
        ("--workers=0", "--workers 0: must be at least 1"),
        ("--tasks=push", "--tasks=push: unknown argument"),
    ],
)
def test_wrong_arguments_are_named(tmp_path, argument, message):
    with pytest.raises(UserError, match=message) as error:
        demos.main(["--out", str(tmp_path / "a" / "1.0.0"), argument])
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_target_without_a_version_is_refused(tmp_path):
    with pytest.raises(UserError, match="must end in a version"):
        demos.main(["--out", str(tmp_path / "demos")])


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit) as stop:
        demos.main(["--help"])
    assert stop.value.code == 0
    assert "Examples:" in capsys.readouterr().out
