"""From a run to coarse actions, from these to a refiner, and what it is worth on held-out data."""

import re

import numpy as np
import pytest

from data_pipelines import sidecars
from tests import tiny
from vidact import evaluate, sample, train
from vidact.training import runs


@pytest.mark.slow
def test_a_refiner_makes_coarse_actions_more_precise(tmp_path, capsys):
    data = tiny.write_data(tmp_path, episodes=40, steps=10)
    base, refined = tmp_path / "base", tmp_path / "refined"
    train.main(tiny.train_command(data, base, train__steps=60, optimizer__warmup=5)[3:])
    asked = ["--config.evaluate.sample_steps=3", "--config.evaluate.clips=64"]
    sample.main(["--checkpoint", str(base), "--write-coarse", "--count", "300", asked[0]])
    path = data.with_name("1.0.0-coarse.safetensors")
    coarse = sidecars.Sidecar([path])
    assert coarse.fields == ("coarse",) and 295 <= len(coarse.windows) <= 305
    changes = dict(
        data__coarse=str(path),
        model__refiner_depth=1,
        model__refiner_width=32,
        model__refiner_heads=2,
        train__pretrained=str(base),
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
    found = re.search(r"action error coarse: (\S+) refined: (\S+)", capsys.readouterr().out)
    assert found and float(found[2]) < 0.8 * float(found[1])
