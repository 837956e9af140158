"""`python -m vidact.sample`: what it writes, mode by mode."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.evaluation import tiny_run
from vidact import sample
from vidact.errors import UserError
from vidact.evaluation import sampling
from vidact.processes.joint_time import MODES


@pytest.fixture
def workdir(tmp_path, tmp_path_factory):
    return tiny_run.copy(tmp_path_factory, tmp_path)


def test_all_modes(workdir):
    stale = workdir / "samples" / "joint-7.webp"  # of an earlier call, of more windows
    stale.parent.mkdir()
    stale.touch()
    sample.main(["--checkpoint", str(workdir), "--count", "2"])
    assert not stale.exists()
    for mode in MODES:
        folder = workdir / "samples"
        facts = json.loads((folder / f"{mode}.json").read_text())
        arrays = np.load(folder / f"{mode}.npz", allow_pickle=False)
        assert arrays["video"].shape == arrays["true_video"].shape == (2, 5, 64, 64, 3)
        assert arrays["actions"].shape == arrays["true_actions"].shape == (2, 4, 4)
        assert arrays["latents"].shape == (2, 2, 8, 8, 6)
        video, actions = sampling.generates(mode)
        for i, window in enumerate(facts["windows"]):
            np.testing.assert_allclose(window["true_actions"], arrays["true_actions"][i], atol=1e-6)
            assert ("loop" in window, "actions" in window) == (video, actions)
            if video:
                with Image.open(folder / window["loop"]) as image:
                    assert image.n_frames == 5 and image.height == 192
        assert {w["task"] for w in facts["windows"]} <= set(tiny_run.TASKS)
        assert facts["windows"][0]["instruction"] in tiny_run.TASKS.values()


def test_one_mode_elsewhere_and_the_same_again(workdir, tmp_path):
    arrays = []
    for name in ("a", "b"):
        out = ["--out", str(tmp_path / name), "--mode", "policy", "--count", "2"]
        sample.main(["--checkpoint", str(workdir), *out])
        assert sorted(p.name for p in (tmp_path / name).iterdir()) == ["policy.json", "policy.npz"]
        arrays.append(np.load(tmp_path / name / "policy.npz")["actions"])
    np.testing.assert_array_equal(*arrays)


def test_wrong_arguments(workdir):
    with pytest.raises(UserError, match="--count 0"):
        sample.main(["--checkpoint", str(workdir), "--count", "0"])
    with pytest.raises(UserError, match=r"metrics\.jsonl.*work directory of a training run"):
        sample.main(["--checkpoint", str(workdir / "metrics.jsonl")])
    with pytest.raises(UserError, match="no checkpoint of step 7"):
        sample.main(["--checkpoint", str(workdir), "--step", "7"])


def test_other_data_are_refused_or_named(workdir, tmp_path):
    asked = [f"--config.data.root={tiny_run.write_data(tmp_path, name='circles')}"]
    asked += ["--mode", "policy", "--count", "2"]
    with pytest.raises(UserError, match=r"circles.*add --other-data"):
        sample.main(["--checkpoint", str(workdir), *asked])
    assert not (workdir / "samples").exists()
    sample.main(["--checkpoint", str(workdir), "--other-data", *asked])
    facts = json.loads((workdir / "samples" / "policy.json").read_text())
    assert facts["data_set"] == "circles, not the run's own"


def test_help_shows_examples(capsys):
    with pytest.raises(SystemExit) as stop:
        sample.main(["--help"])
    assert stop.value.code == 0
    assert "python -m vidact.sample --checkpoint" in capsys.readouterr().out
