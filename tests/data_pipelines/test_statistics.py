"""`python -m data_pipelines.statistics` prints and writes what numpy finds."""

import subprocess
import sys

import numpy as np
import pytest

from data_pipelines.choosing import STANDARD
from data_pipelines.statistics import FIELDS, main
from tests import tiny
from tests.data_pipelines import shards, tables
from tests.data_pipelines.test_inspect_check import bridge
from vidact import actions
from vidact.errors import UserError


@pytest.mark.parametrize("file_format", shards.FORMATS)
def test_written_and_printed(tmp_path, capsys, file_format):
    lengths = [3, 5, 7]
    episodes = [shards.episode(i, n) for i, n in enumerate(lengths)]
    folder, out = shards.write(tmp_path, episodes, file_format), tmp_path / "s" / "statistics.json"
    main([str(folder), "--out", str(out)])
    values = np.array([(i, e) for e, n in enumerate(lengths) for i in range(n)], float)
    found = actions.load_statistics(out)
    assert found["action"].count == found["state"].count == 15
    np.testing.assert_allclose(found["action"].q99, np.quantile(values, 0.99, axis=0), atol=1e-9)
    np.testing.assert_allclose(found["action"].mean, values.mean(0), atol=1e-9)
    np.testing.assert_array_equal(found["action"].max, [6, 2])
    assert list(out.parent.iterdir()) == [out]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["action,", "15", "steps", *FIELDS]
    assert lines[1].split() == f"action[0] 0 5.86 2.267 {values[:, 0].std():.4g} 0 6".split()
    assert [line.split()[0] for line in lines] == [
        *("action,", "action[0]", "action[1]", "state,"),
        *(f"observation/state[{i}]" for i in range(3)),
        "wrote",
    ]


def test_an_action_of_several_arrays_and_no_state(tmp_path, capsys):
    out = tmp_path / "s.json"
    main([str(tables.write(tmp_path)), "--out", str(out)])
    found = actions.load_statistics(out)
    np.testing.assert_array_equal(found["action"].max, [30, 2, 3])
    assert found["state"].mean.shape == (0,)
    assert "state" not in capsys.readouterr().out


def test_an_unreadable_episode_stops_it_unless_skipped(tmp_path, capsys):
    episodes = [shards.episode(i) for i in range(3)]
    episodes[1]["steps"][2]["action"][0] = np.nan
    folder, out = shards.write(tmp_path, episodes), tmp_path / "s.json"
    with pytest.raises(UserError, match=r"record 1: steps/action at step 2, dimension 0 is nan"):
        main([str(folder), "--out", str(out)])
    assert not out.exists()
    main([str(folder), "--out", str(out), "--on-bad-record", "skip"])
    assert actions.load_statistics(out)["action"].count == 12
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith("bad: ") and "record 1" in line]) == 1


def test_real_bridge_through_its_row(shared, capsys):
    folder = shared / "data" / "bridge_dataset"
    main([str(folder), "--registry", "auto"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("action, 200 steps")  # 25 episodes without first and last step
    assert [line.split()[0] for line in lines[1:8]] == list(STANDARD)


def test_a_row_of_the_registry_may_leave_nothing_of_an_episode(tmp_path, capsys):
    bridge(tmp_path, [1, 2, 5])
    main([str(tmp_path / "bridge_dataset"), "--registry", "bridge_dataset"])
    assert capsys.readouterr().out.startswith("action, 3 steps")


def test_as_a_command(tmp_path):
    def run(*arguments) -> subprocess.CompletedProcess:
        line = [sys.executable, "-m", "data_pipelines.statistics", *arguments]
        return subprocess.run(line, cwd=tiny.ROOT, capture_output=True, text=True, check=False)

    done = run(str(shards.write(tmp_path, [shards.episode(0)])))
    assert done.returncode == 0 and not done.stderr
    assert done.stdout.startswith("action, 6 steps")
    done = run("/nowhere")
    assert done.returncode == 2
    assert done.stderr.startswith("error: /nowhere: no such folder")
