"""A run on two data sets in batches of one or two shapes, of which a record is bad."""

import json

import numpy as np
import pytest

from tests import tiny
from tests.data_pipelines import shards
from vidact.errors import UserError
from vidact.evaluation import sampling
from vidact.training import logs, loop, runs

pytestmark = pytest.mark.slow


@pytest.fixture(
    scope="module", params=[(), ((5, 16, 16), (9, 16, 16))], ids=["one shape", "two shapes"]
)
def workdir(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixture")
    sources = []
    for name, steps in (("short", 5), ("long", 12)):
        episodes = [shards.episode(i, steps=steps) for i in range(8)]
        if name == "long":
            image = episodes[1]["steps"][6]["observation"]["image"]
            image.truncate(len(image.getvalue()) // 2)
        sources.append((str(shards.write(folder / name, episodes)), 1.0))
    config = tiny.config(
        sources[0][0],
        train__steps=12,
        train__log_every=4,
        train__batch_size=16,
        data__sources=tuple(sources),
        data__buckets=request.param,
        data__frames=5,
        data__resolution=(16, 16),
        data__on_bad_record="skip",
        data__held_out=0.0,
        model__action_dim=2,
        model__state_dim=3,
    )
    loop.run(config, folder / "run")
    return folder / "run"


def test_losses_are_told_by_data_set_and_bad_records_listed(workdir):
    rows = logs.read(workdir)
    for name in ("toy", "toy-1"):
        found = [
            row[f"{logs.BY_DATA_SET}action/{name}"]
            for row in rows
            if f"{logs.BY_DATA_SET}action/{name}" in row
        ]
        assert found and np.isfinite(found).all()
    assert all(0 <= row["data wait"] <= 1 for row in rows if "data wait" in row)
    (line,) = (workdir / loop.BAD_RECORDS).read_text().splitlines()
    assert "record 1: observation/image at step 6: cannot be decoded" in line
    assert rows[-1]["windows substituted"] > 0


def test_a_run_knows_its_data_sets(workdir):
    run = runs.load(workdir)
    assert run.rates == {"toy": 20.0, "toy-1": 20.0}
    with pytest.raises(UserError, match=r"data_set='': .* toy, toy-1; name the one"):
        _ = run.own
    run.config.evaluate.data_set = "toy-1"
    assert run.own["action"].max[0] == 11 and run.fps == 20.0
    chunk = np.zeros((2, 3, 2), np.float32)
    found = sampling.in_robot_units(run, chunk, np.array([0, 1]))
    means = [run.statistics[name]["action"] for name in ("toy", "toy-1")]
    wanted = [(s.q01[0] + s.q99[0]) / 2 for s in means]
    np.testing.assert_allclose(found[:, 0, 0], wanted, rtol=1e-6)


def test_weights_may_not_change_on_the_way(workdir):
    config = runs.read_config(workdir)
    first, second = config.data.sources
    config.data.sources = (first, (second[0], 2.0))
    with pytest.raises(UserError, match=r"not the data set that .* was trained on"):
        loop.run(config, workdir)
    told = json.loads((workdir / runs.DATA_SET).read_text())
    assert set(told) == {"sha256", "fps"}
