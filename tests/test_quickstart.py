"""The main job: what is done is not done twice, and the whole of it at a small size."""

import contextlib
import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from tests import tiny
from vidact import command, quickstart
from vidact.evaluation import files

SMALL = {
    "demos.episodes": 8,
    "train.steps": 4,
    "train.batch_size": 8,
    "data.held_out": 0.25,
    "encoder.clips": 16,
    "evaluate.rollouts": 2,
    "evaluate.clips": 4,
    "evaluate.sample_steps": 2,
}


def test_a_finished_step_is_not_done_twice(tmp_path, capsys):
    data = tmp_path / "data/metaworld/1.0.0"
    changes = ["--config.demos.tasks=('button-press',)", "--config.demos.episodes=1"]
    step = quickstart.Step("demos", ["--out", str(data), *changes], "", data)
    quickstart.run_steps([step], tmp_path)
    assert "demos: done before" not in capsys.readouterr().out
    stamps = {path.name: path.stat().st_mtime_ns for path in data.iterdir()}
    record = files.read_json(tmp_path / quickstart.RECORD)
    quickstart.run_steps([step], tmp_path)
    assert "demos: done before" in capsys.readouterr().out
    assert files.read_json(tmp_path / quickstart.RECORD) == record
    other = dataclasses.replace(step, options=[*step.options, "--config.demos.seed=9"])
    with pytest.raises(SystemExit) as ended:
        quickstart.run_steps([other], tmp_path)
    assert ended.value.code == 2
    assert "error: vidact.demos: ended with exit code 2; see above" in capsys.readouterr().err
    assert {path.name: path.stat().st_mtime_ns for path in data.iterdir()} == stamps


CONFIG = """
from configs import base
def get_config():
    config = base.get_config()
    config.demos.update(tasks=("button-press",), episodes={episodes})
    config.evaluate.steps = {steps}
    return config
"""


def test_an_edited_configuration_file_is_no_finished_step(tmp_path, capsys):
    file = tmp_path / "configs" / "mine.py"
    file.parent.mkdir()

    def todo(**values) -> list[quickstart.Step]:
        file.write_text(CONFIG.format(**values))
        return quickstart.steps(tmp_path, str(file), command.load_config(file), [])

    first, *rest = todo(episodes=1, steps=2)
    quickstart.run_steps([first], tmp_path)
    capsys.readouterr()
    again, *later = todo(episodes=1, steps=3)  # the recording has nothing to do with it
    quickstart.run_steps([again], tmp_path)
    assert "demos: done before" in capsys.readouterr().out
    assert all(a.config != b.config for a, b in zip(rest, later, strict=True))
    (edited, *_) = todo(episodes=2, steps=2)
    with pytest.raises(SystemExit):  # it asks for another folder, or --overwrite
        quickstart.run_steps([edited], tmp_path)


def test_the_robot_is_exported_as_it_is_evaluated(tmp_path):
    config = command.load_config(tiny.ROOT / "configs/quickstart.py")
    change, other = "--config.evaluate.steps=7", "--config.seed=1"
    steps = quickstart.steps(tmp_path, "", config, [change, other])
    found = {step.name: step.options for step in steps}
    for name in ("sample", "evaluate", "export"):
        assert change in found[name] and other not in found[name]


# Saves for a while after SIGTERM, as training does, and ends with the code that it is given.
SAVES = """
import pathlib, signal, sys, time
def save(*_):
    time.sleep(0.5)
    pathlib.Path(sys.argv[1], "saved").write_text("")
    sys.exit(int(sys.argv[2]))
signal.signal(signal.SIGTERM, save)
pathlib.Path(sys.argv[1], "ready").write_text("")
time.sleep(60)
"""
PARENT = """
import os, signal, sys
from vidact import child
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
sys.exit(child.run([sys.executable, "-c", *sys.argv[1:]], os.environ))
"""


@contextlib.contextmanager
def started(line: list[str]) -> Iterator[subprocess.Popen]:
    """A process that is gone afterwards with all its children, and after a minute in any case."""
    process = subprocess.Popen(line, cwd=tiny.ROOT, start_new_session=True)

    def kill() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    late = threading.Timer(60, kill)
    late.start()
    try:
        yield process
    finally:
        late.cancel()
        kill()
        process.wait()


def appears(process: subprocess.Popen, what: Callable[[], Any]) -> Any:
    """What is there as soon as it is."""
    while not (found := what()):
        assert process.poll() is None
        time.sleep(0.02)
    return found


def stopped(script: str, folder: pathlib.Path, code: int, how: signal.Signals) -> int:
    """The parent's exit code after a signal to it alone."""
    line = [sys.executable, "-c", PARENT, script, str(folder), str(code)]
    with started(line) as process:
        appears(process, (folder / "ready").exists)
        process.send_signal(how)
        return process.wait()


@pytest.mark.parametrize(("code", "passed_on"), [(75, 75), (1, 1), (0, 75)])
def test_sigterm_goes_on_to_the_step_and_its_code_comes_back(tmp_path, code, passed_on):
    assert stopped(SAVES, tmp_path, code, signal.SIGTERM) == passed_on
    assert (tmp_path / "saved").exists()


def test_a_step_that_dies_of_the_signal_says_so(tmp_path):
    dies = SAVES.replace("signal.signal(signal.SIGTERM, save)", "")
    assert stopped(dies, tmp_path, 0, signal.SIGTERM) == 128 + signal.SIGTERM


def test_an_interrupt_of_the_parent_alone_ends_the_step_too(tmp_path):
    assert stopped(SAVES, tmp_path, 0, signal.SIGINT) == -signal.SIGINT
    assert (tmp_path / "saved").exists()


def test_sigterm_ends_the_quickstart_and_its_step(tmp_path):
    line = [sys.executable, "-m", "vidact.quickstart", "--out", str(tmp_path)]
    with started(line) as process:
        (step,) = appears(process, psutil.Process(process.pid).children)
        process.terminate()
        assert process.wait() == 128 + signal.SIGTERM
        assert not step.is_running()


@pytest.mark.slow
@pytest.mark.torch
def test_the_whole_of_it(tmp_path):
    line = [sys.executable, "-m", "vidact.quickstart", "--out", str(tmp_path)]
    line += [f"--config.{key}={value}" for key, value in SMALL.items()]
    printed = []
    for _ in range(2):
        done = subprocess.run(line, cwd=tiny.ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        printed.append(done.stdout)
        assert re.search(r"^wall s: \d+ peak GB: \d+\.\d\d$", done.stdout, re.MULTILINE)
    for expected in (
        r"^drawer-open success: \d/2 \[.*\] replay: \d/2 expert: \d/2$",
        r"^mean success: \d\.\d\d$",
        r"^psnr gain over first frame: .* dB \(moving pixels .* dB\)$",
        r"^torch max diff video: .* actions: .*$",
    ):
        assert re.search(expected, printed[0], re.MULTILINE), expected
    assert printed[1].count("done before") == 6
    page = (tmp_path / "run" / files.REPORT).read_text()
    assert "export" in page and "demos" in page  # the times of the steps before it
