"""`python -m data_pipelines.oxe` tells what the registry knows."""

import subprocess
import sys

import pytest

from data_pipelines.oxe.__main__ import main
from data_pipelines.oxe.registry import TABLE
from tests import tiny


def run(*arguments: str) -> subprocess.CompletedProcess:
    line = [sys.executable, "-m", "data_pipelines.oxe", *arguments]
    return subprocess.run(line, cwd=tiny.ROOT, capture_output=True, text=True, check=False)


def test_the_table_has_a_line_for_each_data_set(capsys):
    main([])
    header, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [row.name for row in TABLE]
    starts = [header.index(title) for title in ("cameras", "action", "Hz", "oddities", "note")]
    bridge = next(line for line in lines if line.startswith("bridge_dataset"))
    cells = [bridge[i:j].strip() for i, j in zip(starts, [*starts[1:], None])]
    assert cells[0] == "primary secondary"
    assert cells[1] == "eef_delta 7"
    assert cells[2].startswith("5")
    assert cells[3] == "reached_deltas, binarised, drop_first 1, drop_last 1"
    assert "octo keeps the first step" in cells[4]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_every_row_can_be_put_in_words(row, capsys):
    main([row.name])
    told = capsys.readouterr().out
    assert told.startswith(f"{row.name}: {row.robot}, ")
    for path in (*row.cameras, row.text, row.note):
        assert path in told


def test_words_of_one_row(capsys):
    main(["bridge_dataset", "berkeley_rpt_converted_externally_to_rlds"])
    bridge, rpt = capsys.readouterr().out.split("\n\n")
    assert "bridge_dataset: WidowX, 5 Hz" in bridge
    assert "gripper (1 open, 0 closed): action[6]\n    binarised: Open (above 0.95) is 1" in bridge
    assert "steps left out: 1 at the start, 1 at the end" in bridge
    assert "in mixtures: octo_bridge 1, octo_rtx 1" in bridge
    assert "30 Hz, one step in 3 kept" in rpt
    assert "reached_deltas(every=3): Relabelling" in rpt


def test_published_quantiles_are_told_where_there_are_any(capsys):
    main(["jaco_play", "droid"])
    jaco, droid = capsys.readouterr().out.split("\n\n")
    assert "  published of 77965 steps, 1 % to 99 % of each column of the action:\n" in jaco
    assert f"\n    {'-0.2 to 0.2, ' * 3}{'0 to 0, ' * 3}0 to 1\n" in jaco
    assert "published of" not in droid


def test_help_shows_examples():
    done = run("--help")
    assert done.returncode == 0
    assert "python -m data_pipelines.oxe bridge_dataset" in done.stdout


def test_an_unknown_name_is_one_line():
    done = run("bridge_datset")
    assert done.returncode == 2
    (told,) = done.stderr.splitlines()
    assert told.startswith("error: bridge_datset: no such data set of Open X-Embodiment; ")
    assert "did you mean bridge_dataset" in told
    assert not done.stdout


def test_it_may_be_cut_off():
    line = f"{sys.executable} -m data_pipelines.oxe | head -1"
    done = subprocess.run(
        line, shell=True, cwd=tiny.ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("name")
    assert not done.stderr
