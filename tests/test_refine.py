"""From a run to coarse actions, from these to a refiner, and what it is worth on held-out data."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest

from data_pipelines import sidecars
from data_pipelines.opening import open_source
from tests import tiny
from tests.evaluation import tiny_run
from vidact import evaluate, sample, train
from vidact.errors import UserError
from vidact.evaluation import coarse as evaluation_coarse
from vidact.training import prepare, runs


def write_coarse(workdir, path, *more):
    sample.main([f"--checkpoint={workdir}", f"--write-coarse={path}", "--count=88", *more])


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """Of a run whose data has a damaged frame: windows 0 to 3 of episode 1 cannot be read."""
    return tiny_run.write(tmp_path_factory.mktemp("refine"), damaged=[(1, 3)])


@pytest.fixture(scope="module")
def written(workdir):
    path = workdir.parent / "coarse.safetensors"
    write_coarse(workdir, path)
    return path


def opened(workdir, path, changes=(), statistics=None):
    """The training windows of a run on coarse actions, as `vidact.train` opens them."""
    config = runs.read_config(workdir)
    config.data.coarse = str(path)
    config.update_from_flattened_dict(dict(changes))
    return prepare.open_data(config, open_source(config.data), statistics)[0]


def test_windows_that_cannot_be_read_get_no_coarse_actions(workdir, written, capsys):
    found = sidecars.Sidecar([written])
    named = set(zip(found.windows.episodes.tolist(), found.windows.starts.tolist(), strict=True))
    every = {(episode, start) for episode in range(8) for start in range(11)}
    assert named == every - {(1, start) for start in range(4)} and len(found.windows) == 84
    write_coarse(workdir, written)  # its own it may replace
    told = capsys.readouterr().out.splitlines()
    assert told[-2].startswith("wrote coarse actions of 84 windows to")
    assert told[-1] == f"windows left out: 4; {written}.json says why"
    assert found.read(np.arange(84))["coarse"].shape == (84, 4, 4)


def test_coarse_actions_say_what_they_were_sampled_from(workdir, written):
    told = json.loads(written.with_name("coarse.safetensors.json").read_text())
    assert told["sampled_by"] == {
        "checkpoint": str(workdir),
        "step": 0,
        "mode": "joint",
        "count": 88,
        "config.evaluate.sample_steps": 2,
        "config.evaluate.action_steps": 0,
        "config.evaluate.video_guidance": 1.0,
        "config.evaluate.action_guidance": 1.0,
        "config.evaluate.seed": 0,
    }
    assert told["fits"]["data_set"] == runs.read_data_set(workdir)[0]
    assert told["fits"]["config.data.frames"] == 5 and told["fits"]["config.encoder.stride"] == 1
    assert "record 1: observation/image at step 3" in told["bad_records"][0]
    train = opened(workdir, written)
    assert 1 not in train.windows.episodes[train.windows.starts < 4] and len(train) == 62


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"data.frames": 9}, r"config\.data\.frames=5, now 9; use that value, or write it again"),
        ({"encoder.stride": 2}, r"config\.encoder\.stride=1, now 2"),
        ({"data.action_order": (1, 0)}, r"config\.data\.action_order=\[\], now \[1, 0\]"),
        ({"data.normalisation": "mean_std"}, r"config\.data\.normalisation='q01_q99', now 'mean"),
    ],
    ids=lambda given: next(iter(given)) if isinstance(given, dict) else "",
)
def test_training_refuses_coarse_actions_of_others(workdir, written, changes, told):
    with pytest.raises(UserError, match=told):
        opened(workdir, written, changes)


def test_training_refuses_coarse_actions_of_another_data_set(workdir, written, tmp_path):
    other = tiny_run.write_data(tmp_path, metadata=False)
    with pytest.raises(UserError, match="was sampled with another data_set"):
        opened(workdir, written, {"data.root": str(other)})


def test_training_refuses_coarse_actions_that_others_statistics_normalise(workdir, written):
    known = runs.read_statistics(workdir)
    opened(workdir, written, statistics=known)
    (name,) = known
    action = known[name]["action"]
    wider = dataclasses.replace(action, q99=action.q99 + 1)
    with pytest.raises(UserError, match=r"another statistics .*config\.init_from=the run"):
        opened(workdir, written, statistics={name: {**known[name], "action": wider}})


def test_coarse_actions_and_what_is_told_of_them_belong_together(workdir, written, tmp_path):
    path = tmp_path / "coarse.safetensors"
    shutil.copy(written, path)
    with pytest.raises(UserError, match=r"nobody knows what coarse\.safetensors was sampled from"):
        opened(workdir, path)
    shutil.copy(f"{written}.json", f"{path}.json")
    opened(workdir, path)
    found = sidecars.Sidecar([path])
    rows = np.arange(len(found.windows))
    sidecars.write(path, found.windows, {"coarse": found.read(rows)["coarse"] + 1})
    with pytest.raises(UserError, match=r"not the file that coarse\.safetensors\.json tells of"):
        opened(workdir, path)
    path.with_name("coarse.safetensors.json").write_text("{")
    with pytest.raises(UserError, match=r"coarse\.safetensors\.json: damaged"):
        opened(workdir, path)


def test_coarse_actions_are_of_the_run_s_own_data(workdir, tmp_path):
    other, path = tiny_run.write_data(tmp_path, metadata=False), tmp_path / "coarse.safetensors"
    with pytest.raises(UserError, match=r"not the data that .* was trained on, whose statistics"):
        write_coarse(workdir, path, f"--config.data.root={other}")
    assert not path.exists()


def test_coarse_actions_of_other_settings_are_not_replaced(workdir, written):
    before = written.read_bytes()
    with pytest.raises(UserError, match=r"config\.evaluate\.sample_steps=2, now 3; give another"):
        write_coarse(workdir, written, "--config.evaluate.sample_steps=3")
    assert written.read_bytes() == before


@pytest.mark.parametrize("more", ["--mode=policy", "--out=elsewhere", "--other-data"])
def test_what_means_nothing_to_coarse_actions_is_refused(workdir, tmp_path, more):
    with pytest.raises(UserError, match="--write-coarse: takes no --mode"):
        write_coarse(workdir, tmp_path / "coarse.safetensors", more)


def test_without_a_folder_a_file_must_be_named(workdir):
    for root in ("gs://b/c", ""):
        told = rf"config\.data\.root='{root}' is no folder that a file"
        with pytest.raises(UserError, match=told):
            evaluation_coarse.beside(root)
    root = runs.read_config(workdir).data.root
    expected = workdir.parent / "squares" / "1.0.0-coarse.safetensors"
    assert evaluation_coarse.beside(root) == evaluation_coarse.beside(f"rlds:{root}") == expected


@pytest.mark.slow
def test_a_refiner_makes_coarse_actions_more_precise(tmp_path, capsys):
    data = tiny.write_data(tmp_path, episodes=40, steps=10)
    base, refined = tmp_path / "base", tmp_path / "refined"
    train.main(tiny.train_command(data, base, train__steps=60, optimizer__warmup=5)[3:])
    asked = ["--config.evaluate.sample_steps=3", "--config.evaluate.clips=64"]
    sample.main(["--checkpoint", str(base), "--write-coarse", "--count", "300", asked[0]])
    path = data.with_name("1.0.0-coarse.safetensors")
    found = sidecars.Sidecar([path])
    assert found.fields == ("coarse",) and 295 <= len(found.windows) <= 305
    changes = dict(
        data__coarse=str(path),
        model__refiner_depth=1,
        model__refiner_width=32,
        model__refiner_heads=2,
        init_from=str(base),
        train__freeze=("^(?!refiner/)",),
        train__steps=400,
        train__batch_size=32,
        train__log_every=100,
        optimizer__learning_rate=3e-3,
    )
    train.main(tiny.train_command(data, refined, **changes)[3:])
    one, other = runs.load(base), runs.load(refined)
    for before, after in (
        (one.codec.later_basis, other.codec.later_basis),
        (one.own["action"].mean, other.own["action"].mean),
        (one.model.video.x_embedder.kernel[...], other.model.video.x_embedder.kernel[...]),
    ):
        np.testing.assert_array_equal(before, after)
    capsys.readouterr()
    evaluate.main(["--checkpoint", str(refined), "--refine", *asked])
    errors = re.search(r"action error coarse: (\S+) refined: (\S+)", capsys.readouterr().out)
    assert errors and float(errors[2]) < 0.8 * float(errors[1])
