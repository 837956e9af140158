"""`inspect` on the other sources: videos, Parquet, CSV and HDF5 rather than RLDS."""

import pytest

from data_pipelines.inspect.__main__ import main
from tests.data_pipelines import hdf5_files
from tests.data_pipelines.sources import lerobots, videos
from tests.data_pipelines.test_inspect_check import check
from tests.data_pipelines.test_inspect_page import page, words


@pytest.mark.parametrize("version", lerobots.VERSIONS)
def test_lerobot(tmp_path, capsys, version):
    folder = lerobots.write(tmp_path, version, splits={"train": "0:3"})
    for options in ([], ["--fast"]):
        assert check(capsys, folder, *options) == (0, ["episodes: 3 bad: 0 skipped: 0"])
    found = page(folder, tmp_path / "p.html")
    told = words(found)
    for expected in ("episodes 3 ", "steps 19 ", "rate 10 steps a second", "duration 1.9 s"):
        assert expected in told, expected
    assert len(found.values("img", "src")) == 3 * 2
    known = {row[0]: row[1:] for row in found.tables["features"][1:]}
    assert known[lerobots.DEPTH][0] == "other" and known["task"][2] == "instruction"
    assert known["observation.state"][2] == "state"
    assert found.tables["instructions"][1:] == [["3", "open the drawer"]]
    assert told.count("1 other instructions follow.") == 3
    video = lerobots.video_file(folder, version, 2)
    video.write_bytes(video.read_bytes()[:-1000])
    code, lines = check(capsys, folder)
    assert code == 1 and lines[-1].startswith("episodes: 3 bad: ")
    assert any(line.startswith("bad: episode 2: ") and video.name in line for line in lines)


def test_a_folder_of_videos_without_numbers(tmp_path, capsys):
    for i, steps in enumerate((1, 5, 7)):
        videos.write(tmp_path / "films" / f"{i}.mp4", videos.pixels(steps, seed=i))
    code, lines = check(capsys, tmp_path / "films")
    assert (code, lines[-1]) == (0, "episodes: 3 bad: 0 skipped: 1")
    assert "0.mp4: one step: no action to learn" in lines[0]
    found = page(tmp_path / "films", tmp_path / "p.html")
    told = words(found)
    for expected in ("steps 13 ", "no action: ", "no instruction: ", "1 hold no action to learn"):
        assert expected in told, expected
    assert len(found.values("img", "src")) == 3
    assert not found.values("polyline", "points") and "action" not in found.tables


def test_hdf5(tmp_path, capsys):
    path = hdf5_files.libero(tmp_path / "demo.hdf5", lengths=(5, 1, 4))
    code, lines = check(capsys, path)
    assert (code, lines[-1]) == (0, "episodes: 3 bad: 0 skipped: 1")
    assert lines[0].startswith(f"skipped: episode 1: {path}: demo_1: one step")
    assert check(capsys, path, "--fast") == (code, lines)
    found = page(path, tmp_path / "p.html", "--state", "obs/ee_pos", "obs/gripper_states")
    told = words(found)
    for expected in ("steps 10 ", "rate 20 steps", "1 hold no action"):
        assert expected in told, expected
    assert len(found.tables["action"]) == 1 + 7 and len(found.tables["state"]) == 1 + 3 + 2
    main([str(path), "--out", str(tmp_path / "q.html")])
    assert (
        "no state: none goes by that name; choose with --state among"
        in (tmp_path / "q.html").read_text()
    )
