"""`python -m vidact.evaluate`: its lines, its file, and what it refuses."""

import json
import re
import sys

import pytest
from PIL import Image

from tests.evaluation import tiny_run
from vidact import evaluate
from vidact.errors import UserError


@pytest.fixture
def workdir(tmp_path, tmp_path_factory):
    return tiny_run.copy(tmp_path_factory, tmp_path)


def test_rollouts_and_metrics(workdir, capsys):
    evaluate.main(["--checkpoint", str(workdir)])
    output = capsys.readouterr().out
    line = r"^button-press success: \d/2 \[0\.\d\d, [01]\.\d\d\] replay: \d/2 expert: 2/2$"
    assert re.search(line, output, re.M), output
    for task in tiny_run.TASKS:
        errors = r"action error: \d+\.\d{3} hold-still: \d+\.\d{3} mean-action: \d+\.\d{3}$"
        assert re.search(rf"^{task} {errors}", output, re.M), output
    for line in (
        r"^mean success: [01]\.\d\d$",
        r"^nearest recorded start: \d+\.\d{4} m$",
        r"^psnr gain over first frame: -?\d+\.\d\d dB \(moving pixels -?\d+\.\d\d dB\)$",
        r"^codec psnr: \d+\.\d dB$",
    ):
        assert re.search(line, output, re.M), output
    result = json.loads((workdir / "evaluation.json").read_text())
    assert [task["task"] for task in result["tasks"]] == ["button-press"]
    for task in result["tasks"]:
        assert sum(task["solved"]) == task["success"] and len(task["films"]) == 2
        for name in task["films"]:
            with Image.open(workdir / name) as image:
                assert image.n_frames >= 2


def test_without_rollouts(workdir, capsys):
    evaluate.main(["--checkpoint", str(workdir), "--config.evaluate.tasks=()"])
    output = capsys.readouterr().out
    assert "rollouts: none" in output and "psnr gain" in output and "success:" not in output
    result = json.loads((workdir / "evaluation.json").read_text())
    assert result["tasks"] == [] and result["mean_success"] is None


def test_without_the_simulator_the_extra_is_named(workdir, monkeypatch):
    monkeypatch.setitem(sys.modules, "metaworld", None)
    with pytest.raises(UserError, match=r"metaworld: not installed.*\.\[metaworld\]"):
        evaluate.main(["--checkpoint", str(workdir)])


def test_a_data_set_that_moved_is_named_and_nothing_is_written(workdir):
    arguments = ["--checkpoint", str(workdir), "--config.data.root=/nowhere"]
    with pytest.raises(UserError, match="/nowhere"):
        evaluate.main(arguments)
    assert not (workdir / "evaluation.json").exists()


def test_other_data_are_refused_or_named(workdir, tmp_path, capsys):
    root = tiny_run.write_data(tmp_path, name="circles")
    asked = [f"--config.data.root={root}", "--config.evaluate.tasks=()"]
    with pytest.raises(UserError, match=r"circles.*add --other-data"):
        evaluate.main(["--checkpoint", str(workdir), *asked])
    assert not (workdir / "evaluation.json").exists()
    evaluate.main(["--checkpoint", str(workdir), "--other-data", *asked])
    assert "held-out episodes of circles, not the run's own\n" in capsys.readouterr().out
    result = json.loads((workdir / "evaluation.json").read_text())
    assert result["data_set"] == "circles, not the run's own" and result["step"] == 0


def test_help_shows_examples(capsys):
    with pytest.raises(SystemExit) as stop:
        evaluate.main(["--help"])
    assert stop.value.code == 0
    assert "python -m vidact.evaluate --checkpoint" in capsys.readouterr().out
