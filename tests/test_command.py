"""Overrides, configuration files and errors: what all commands share."""

import os
import subprocess
import sys

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
    ("data", "named"),
    [
        ({}, False),
        ({"root": "somewhere"}, True),
        ({"sources": (("somewhere", 1.0),)}, True),
        ({"mixture": "oxe_magic_soup"}, False),  # its root is the folder that holds them
        ({"mixture": "oxe_magic_soup", "sources": (("somewhere", 1.0),)}, False),
        ({"mixture": "oxe_magic_soup", "root": "somewhere"}, True),
    ],
)
def test_data_are_named_by_a_folder_or_by_sources(config, data, named):
    config = command.override(config, [])
    config.data.update(data)
    if named:
        command.check_data(config)
        return
    with pytest.raises(
        UserError, match=r"config\.data\.root: empty; set .*, or config\.data\.sources"
    ):
        command.check_data(config)


def ended(body: str, *, readers: bool = True) -> subprocess.CompletedProcess:
    """A real process whose command does `body`; its output may have lost its reader."""
    code = (
        "import os\nfrom vidact import command\nfrom vidact.errors import UserError\n"
        f"def main(arguments):\n    {body}\ncommand.run(main)\n"
    )
    reader, writer = os.pipe()
    if not readers:
        os.close(reader)
    line = [sys.executable, "-c", code]
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}
    process = subprocess.Popen(
        line, stdout=writer, stderr=subprocess.PIPE, cwd=tiny.ROOT, env=buffered
    )
    os.close(writer)
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    if readers:
        os.close(reader)
    return subprocess.CompletedProcess(line, process.returncode, None, errors.decode())


@pytest.mark.parametrize(
    ("body", "code", "printed"),
    [
        ("return", 0, ""),
        ("raise UserError('here: broken; mend it')", 2, "error: here: broken; mend it\n"),
        ("raise KeyboardInterrupt", 130, "interrupted\n"),
        ("open('/nowhere')", 2, "error: /nowhere: No such file or directory; mend it and go on\n"),
        ("raise OSError(28, 'No room')", 2, "error: No room; mend it and go on\n"),
        (
            "raise OSError('told by a\\n library')",
            2,
            "error: told by a library; mend it and go on\n",
        ),
        ("raise TimeoutError", 2, "error: TimeoutError; mend it and go on\n"),
        ("raise SystemExit(75)", 75, ""),
    ],
)
def test_run_turns_errors_into_one_line_and_a_code(body, code, printed):
    done = ended(body)
    assert (done.returncode, done.stderr) == (code, printed)


def test_run_does_not_hide_defects():
    done = ended("1 / 0")
    assert done.returncode == 1
    assert "in main" in done.stderr and done.stderr.endswith(
        "ZeroDivisionError: division by zero\n"
    )


def test_a_pipe_to_a_worker_that_is_gone_is_a_defect():
    done = ended("r, w = os.pipe(); os.close(r); os.write(w, b'x')")
    assert done.returncode == 1
    assert "BrokenPipeError" in done.stderr and "Traceback" in done.stderr


@pytest.mark.parametrize(
    "body",
    [
        "print('x')",
        "print('x', flush=True)",
        "os.write(1, b'x')",
        "print('x'); raise SystemExit(0)",
    ],
)
def test_output_that_nobody_reads_ends_quietly(body):
    done = ended(body, readers=False)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_mistake_is_told_though_nobody_reads_the_output():
    done = ended("print('x'); raise UserError('here: broken; mend it')", readers=False)
    assert (done.returncode, done.stderr) == (2, "error: here: broken; mend it\n")
