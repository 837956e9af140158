"""Statistics over all steps of the episodes asked for."""

import numpy as np
import pytest

from data_pipelines import statistics
from data_pipelines.sources.rlds import Keys, open_rlds
from tests.data_pipelines import shards
from vidact.errors import UserError


def test_equal_to_numpy_over_all_steps(tmp_path):
    source = open_rlds(str(shards.write(tmp_path, [shards.episode(i, 3 + i) for i in range(5)])))
    chosen = np.array([0, 2, 4])
    found = statistics.compute(source, chosen)
    rows = {
        "action": np.concatenate([source.episode(i).actions for i in (0, 2, 4)]),
        "state": np.concatenate([source.episode(i).states for i in (0, 2, 4)]),
    }
    assert found["action"].count == 3 + 5 + 7
    for name, values in rows.items():
        want = values.astype(np.float64)
        np.testing.assert_allclose(found[name].q01, np.quantile(want, 0.01, axis=0), atol=1e-12)
        np.testing.assert_allclose(found[name].q99, np.quantile(want, 0.99, axis=0), atol=1e-12)
        np.testing.assert_allclose(found[name].mean, want.mean(0), atol=1e-12)
        np.testing.assert_allclose(found[name].std, want.std(0), atol=1e-12)
        np.testing.assert_array_equal(found[name].min, want.min(0))
        np.testing.assert_array_equal(found[name].max, want.max(0))


def test_no_episodes(tmp_path):
    source = open_rlds(str(shards.write(tmp_path, [shards.episode(0)])))
    with pytest.raises(UserError, match="no episodes to take statistics of"):
        statistics.compute(source, np.array([], np.int64))


def test_non_finite_state_is_named(tmp_path):
    episodes = [shards.episode(i) for i in range(3)]
    episodes[2]["steps"][1]["observation"]["state"][0] = np.nan
    source = open_rlds(str(shards.write(tmp_path, episodes)))
    with pytest.raises(UserError, match=r"record 2: steps/observation/state at step 1, .* nan"):
        statistics.compute(source, np.arange(3))


def test_real_bridge(shared):
    root = str(shared / "data" / "bridge_dataset")
    source = open_rlds(root, keys=Keys(cameras=("observation/image_0",)))
    found = statistics.compute(source, np.arange(25))
    assert found["action"].count == found["state"].count == 250
    assert set(np.unique([found["action"].min[6], found["action"].max[6]])) <= {0.0, 1.0}
