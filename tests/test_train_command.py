"""Mistakes and damage that the trainer meets: one line each, and nothing written."""

import json

import numpy as np
import pytest

from tests import tiny
from tests.data_pipelines import shards
from vidact import command, train


@pytest.fixture
def fails(tmp_path, monkeypatch, capsys):
    """Runs the command and returns the one line that it fails with."""

    def run(data, **changes) -> str:
        workdir = tmp_path / "run"
        line = tiny.train_command(data, workdir, **changes)
        monkeypatch.setattr("sys.argv", line[2:])  # without `python -m`
        with pytest.raises(SystemExit) as stop:
            command.run(train.main)
        lines = [x for x in capsys.readouterr().err.splitlines() if x.strip()]
        assert stop.value.code == 2
        assert len(lines) == 1 and lines[0].startswith("error: ")
        assert not workdir.exists()
        return lines[0]

    return run


@pytest.mark.parametrize("file_format", shards.FORMATS)
def test_a_corrupt_shard(fails, tmp_path, file_format):
    data = shards.write(tmp_path, [shards.episode(i) for i in range(4)], file_format)
    shards.flip_byte(shards.shard(data), 300)
    line = fails(data)
    assert shards.shard(data).name in line
    assert "corrupt" in line


def test_an_action_that_is_no_number(fails, tmp_path):
    episodes = [shards.episode(i) for i in range(4)]
    episodes[2]["steps"][3]["action"][1] = np.nan
    line = fails(shards.write(tmp_path, episodes))
    assert "record 2" in line and "action" in line


def test_a_data_set_without_episodes(fails, tmp_path):
    data = shards.write(tmp_path, [shards.episode(0)])
    info = data / "dataset_info.json"
    described = json.loads(info.read_text())
    described["splits"][0]["shardLengths"] = ["0"]
    info.write_text(json.dumps(described))
    assert "holds no episodes" in fails(data)


def test_a_folder_without_data(fails, tmp_path):
    (tmp_path / "nothing").mkdir()
    assert "no features.json" in fails(tmp_path / "nothing")
    assert "no such folder" in fails(tmp_path / "missing")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model__action_dim": 7}, "config.model.action_dim=7"),
        ({"model__state_dim": 7}, "config.model.state_dim=7"),
        ({"data__fps": 5.0}, "config.data.fps=5.0"),
        ({"data__image_key": "observation/image_0"}, "observation/image_0"),
        ({"data__split": "val"}, "config.data.split"),
        ({"data__held_out": 2.0, "data__frames": 9}, "config.data.held_out=2.0"),
        ({"data__normalisation": "none"}, "config.data.normalisation='none'"),
        ({"model__family": "gpt"}, "config.model.family='gpt'"),
        ({"model__remat": "half"}, "config.model.remat='half'"),
        ({"optimizer__schedule": "step"}, "config.optimizer.schedule='step'"),
        ({"encoder__patch": 0}, "config.encoder.patch=0"),
        ({"model__video_heads": 0}, "config.model.video_heads=0"),
        ({"model__text_width": 66}, "config.model.text_width=66"),
        ({"model__decoder_channels": (60,)}, "config.model.decoder_channels=(60,)"),
        ({"data__resolution": (64,)}, "config.data.resolution=(64,)"),
        ({"data__held_out": float("nan")}, "config.data.held_out=nan"),
        ({"mesh__fsdp": 0}, "config.mesh.fsdp=0"),
        ({"seed": -1}, "config.seed=-1"),
        ({"train__log_every": 0}, "config.train.log_every=0"),
        ({"train__keep": 0}, "config.train.keep=0"),
        ({"train__spike": 0.5}, "config.train.spike=0.5"),
        ({"train__profile": (3,)}, "config.train.profile=(3,)"),
        ({"train__picture_every": 5, "data__held_out": 0.0}, "config.train.picture_every=5"),
        ({"train__freeze": ("^vidio/",)}, "'^vidio/' matches no parameter"),
        ({"train__freeze": ("[",)}, "config.train.freeze: '['"),
    ],
)
def test_settings_that_do_not_fit_the_data(fails, tmp_path, changes, named):
    data = shards.write(tmp_path, [shards.episode(i) for i in range(2)])
    assert named in fails(data, **changes)
