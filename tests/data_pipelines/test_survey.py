"""Statistics over all steps of the episodes asked for, taken once and kept."""

import os

import numpy as np
import pytest

from data_pipelines import survey
from data_pipelines.bad_records import BadRecords
from tests.data_pipelines import shards
from vidact.errors import UserError


def surveyed(data_set, chosen, policy="error"):
    return survey.survey(data_set, np.asarray(chosen, np.int64), BadRecords(policy))


def test_equal_to_numpy_over_all_steps(tmp_path):
    source = shards.opened(shards.write(tmp_path, [shards.episode(i, 3 + i) for i in range(5)]))
    found = surveyed(source, [0, 2, 4])
    rows = {
        "action": np.concatenate([source.episode(i).actions for i in (0, 2, 4)]),
        "state": np.concatenate([source.episode(i).states for i in (0, 2, 4)]),
    }
    np.testing.assert_array_equal(found.lengths, [3, 4, 5, 6, 7])
    assert found.statistics["action"].count == 3 + 5 + 7
    for name, values in rows.items():
        want, measured = values.astype(np.float64), found.statistics[name]
        np.testing.assert_allclose(measured.q01, np.quantile(want, 0.01, axis=0), atol=1e-12)
        np.testing.assert_allclose(measured.q99, np.quantile(want, 0.99, axis=0), atol=1e-12)
        np.testing.assert_allclose(measured.mean, want.mean(0), atol=1e-12)
        np.testing.assert_allclose(measured.std, want.std(0), atol=1e-12)
        np.testing.assert_array_equal(measured.min, want.min(0))
        np.testing.assert_array_equal(measured.max, want.max(0))


def test_no_episodes(tmp_path):
    source = shards.opened(shards.write(tmp_path, [shards.episode(0)]))
    with pytest.raises(UserError, match="no training step to take statistics of"):
        surveyed(source, [])


def test_a_second_pass_reads_nothing_until_a_file_changes(tmp_path):
    folder = shards.write(tmp_path, [shards.episode(i) for i in range(3)], "tfrecord")
    first = surveyed(shards.opened(folder), [0, 1])
    again = shards.opened(folder)
    again.numbers = None  # no episode may be read
    assert surveyed(again, [0, 1]).statistics["action"].to_json() == (
        first.statistics["action"].to_json()
    )
    shards.flip_byte(shards.shard(folder), -100)
    os.utime(shards.shard(folder), (0, 0))
    with pytest.raises(UserError, match="record 2: corrupt"):
        surveyed(shards.opened(folder), [0, 1])


@pytest.mark.parametrize("text", ["null", "{}", '{"lengths": [1], "statistics": {}, "bad": []}'])
def test_a_kept_pass_that_is_none_is_done_again(tmp_path, monkeypatch, text):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = shards.opened(shards.write(tmp_path, [shards.episode(i) for i in range(3)]))
    first = surveyed(source, [0, 1])
    (kept,) = survey.folder().iterdir()
    kept.write_text(text)
    again = surveyed(source, [0, 1])
    np.testing.assert_array_equal(again.lengths, first.lengths)
    assert again.statistics["action"].to_json() == first.statistics["action"].to_json()


def test_what_is_bad_is_told_each_time(tmp_path):
    episodes = [shards.episode(i) for i in range(3)]
    episodes[2]["steps"][1]["observation"]["state"][0] = np.nan
    source = shards.opened(shards.write(tmp_path, episodes))
    message = r"record 2: steps/observation/state at step 1, .* nan"
    with pytest.raises(UserError, match=message):
        surveyed(source, range(3))
    for _ in range(2):
        bad = BadRecords("skip")
        found = survey.survey(source, np.arange(3), bad)
        np.testing.assert_array_equal(found.lengths, [6, 6, 0])
        assert found.statistics["action"].count == 12
        assert len(bad.reasons) == 1 and "record 2" in next(iter(bad.reasons))


def test_real_bridge(shared):
    source = shards.opened(shared / "data" / "bridge_dataset", "observation/image_0", fps=5.0)
    found = surveyed(source, range(25)).statistics
    assert found["action"].count == found["state"].count == 250
    assert set(np.unique([found["action"].min[6], found["action"].max[6]])) <= {0.0, 1.0}
