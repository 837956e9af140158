"""Overrides, configuration files and errors: what all commands share."""

import pytest

from tests import tiny
from vidact import command
from vidact.errors import UserError


@pytest.fixture(scope="module")
def config():
    return command.load_config(tiny.ROOT / "configs/quickstart.py")


def test_overrides_take_the_type_of_what_they_replace(config):
    given = ["train.steps=7", "data.fps=10", "data.resolution=(32, 48)", "data.root=some/where"]
    changed = command.override(config, [f"--config.{value}" for value in given])
    assert changed.train.steps == 7
    assert (changed.data.fps, type(changed.data.fps)) == (10.0, float)
    assert changed.data.resolution == (32, 48)
    assert changed.data.root == "some/where"
    assert command.override(config, ["--config.overfit_one_batch"]).overfit_one_batch
    assert command.override(config, ["--config.train.freeze=('^video/',)"]).train.freeze == (
        "^video/",
    )
    assert command.override(config, ["--config.evaluate.tasks=()"]).evaluate.tasks == ()


def test_an_override_leaves_the_original_alone(config):
    before = config.to_dict()
    command.override(config, ["--config.train.steps=7"])
    assert config.to_dict() == before


@pytest.mark.parametrize(
    ("argument", "named"),
    [
        ("--config.train.stepz=7", "stepz"),
        ("--config.trian.steps=7", "trian"),
        ("--config.train.steps=seven", "seven"),
        ("--config.train.steps=1.5", "1.5"),
        ("--config.train=7", "config.train"),
        ("--steps=7", "--steps=7: unknown argument"),
        ("somewhere", "somewhere: unknown argument"),
    ],
)
def test_a_wrong_override_is_named_in_one_line(config, argument, named):
    with pytest.raises(UserError) as error:
        command.override(config, [argument])
    assert named in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_configuration_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.py: no such configuration file"):
        command.load_config(tmp_path / "nothing.py")
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(UserError, match=r"empty\.py: defines no get_config"):
        command.load_config(tmp_path / "empty.py")


@pytest.mark.parametrize(
    ("raised", "code", "printed"),
    [
        (None, 0, ""),
        (UserError("here: broken; mend it"), 2, "error: here: broken; mend it\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (OSError(28, "no room", "here"), 2, "error: here: no room; mend it and go on\n"),
    ],
)
def test_run_turns_errors_into_one_line_and_a_code(capsys, raised, code, printed):
    def main(arguments):
        if raised is not None:
            raise raised

    with pytest.raises(SystemExit) as stop:
        command.run(main)
    assert stop.value.code == code
    assert capsys.readouterr().err == printed


def test_run_does_not_hide_defects():
    def main(arguments):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command.run(main)
