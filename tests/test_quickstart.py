"""The main job: what is done is not done twice, and the whole of it at a small size."""

import re
import subprocess
import sys

import pytest

from tests import tiny
from vidact import quickstart
from vidact.errors import UserError
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
    step = quickstart.Step("demos", ["--out", str(data), *changes], data)
    quickstart.run_steps([step], tmp_path)
    assert "demos: done before" not in capsys.readouterr().out
    stamps = {path.name: path.stat().st_mtime_ns for path in data.iterdir()}
    record = files.read_json(tmp_path / quickstart.RECORD)
    quickstart.run_steps([step], tmp_path)
    assert "demos: done before" in capsys.readouterr().out
    assert files.read_json(tmp_path / quickstart.RECORD) == record
    other = quickstart.Step("demos", [*step.options, "--config.demos.seed=9"], data)
    with pytest.raises(UserError, match=r"vidact\.demos: ended with exit code 2"):
        quickstart.run_steps([other], tmp_path)
    assert {path.name: path.stat().st_mtime_ns for path in data.iterdir()} == stamps


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
