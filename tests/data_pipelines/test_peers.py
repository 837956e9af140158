"""How other pipelines are run, asked and compared; that they run is no matter of tests."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from etils import epath

from data_pipelines import benchmark
from data_pipelines.measuring import data, our_side, peer_data, peer_ratios, peers
from data_pipelines.measuring.programs import peer_loop
from data_pipelines.sources import records
from tests import test_rooms
from vidact.errors import UserError

PROGRAM = """
import sys
sys.path.insert(0, {programs!r})
import numpy as np, peer_loop

def batches():
    while True:
        yield peer_loop.Windows([[3, 4], [5, -6]], np.arange(24, dtype=np.uint8).reshape(2, 3, 4))

peer_loop.serve(batches(), hashed={hashed})
"""
TELLS = """
import json, sys
print(json.dumps({"places": [[1, 2]], "sha256": ["0" * 64]}), flush=True)
sys.stdin.read()
"""
COSTS = """
import json, sys
print(json.dumps(dict(places=[])), flush=True)
for cpu, _ in zip((1000, 20, 50, 10), sys.stdin):
    print(json.dumps(dict(cpu_ms=cpu + {0}, wall_ms=cpu + 10 + {0})), flush=True)
"""
NUMBERS = (("one", 1.0), ("two", 2.0))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Seven generated episodes, raw and converted."""
    folder = tmp_path_factory.mktemp("made")
    data.make(folder, 7)
    return folder


def run(program: str):
    return peers.started("a peer", [sys.executable, "-c", program])


@pytest.mark.parametrize("hashed", [True, False])
def test_a_program_tells_its_windows_and_then_measures(hashed):
    with run(PROGRAM.format(programs=str(peers.PROGRAMS), hashed=hashed)) as side:
        assert side.places == [[3, 4], [5, -6]]
        rows = (bytes(range(12)), bytes(range(12, 24)))
        assert side.sha256 == [hashlib.sha256(row).hexdigest() for row in rows if hashed]
        for _ in range(2):
            cost = side.measure()
            assert cost.cpu_ms > 0 and cost.wall_ms > 0


@pytest.mark.parametrize("before", ["", "print('{\"places\": []}', flush=True); input(); "])
def test_a_program_that_fails_is_named_with_its_last_words(before):
    match = r"a peer: gave no answer but: ValueError: no frames; mend"
    program = f"{before}raise ValueError('no frames')"
    with pytest.raises(UserError, match=match), run(program) as side:
        side.measure()


def test_child_processes_cpu_time_counts():
    burn = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True); input()"
    before = peer_loop.cpu_s()
    command = [sys.executable, "-c", burn]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert peer_loop.cpu_s() - before >= 0.48  # read in hundredths
        child.kill()


def test_environments_that_are_not_there_or_old_are_left_out(tmp_path):
    lines = list(peer_ratios.lines(tmp_path / "none", tmp_path, 1))
    assert len(lines) == 2
    for name, line in zip(peers.ENVIRONMENTS, lines, strict=True):
        assert str(tmp_path / name) in line and "--setup-peers" in line
    (tmp_path / "tfdata").mkdir()
    installed = tmp_path / "tfdata" / "installed.txt"
    installed.write_text("tensorflow_cpu==2.0.0\n")
    assert peers.wanting(tmp_path, "tfdata")
    installed.write_text((peers.PROGRAMS / "tfdata.txt").read_text())
    assert not peers.wanting(tmp_path, "tfdata")


def test_what_pip_cannot_install_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with pytest.raises(UserError, match=r"tfdata: pip ended with: .*No matching.*; mend") as error:
        benchmark.main(["--setup-peers", "--peers", str(tmp_path)])
    assert "\n" not in str(error.value)
    assert peers.wanting(tmp_path, "tfdata")


def test_ffmpeg_is_linked_by_both_its_names(tmp_path):
    libraries = tmp_path / "lib/python3.11/site-packages/av.libs"
    libraries.mkdir(parents=True)
    for name in ("libavcodec-7ee0753d.so.61.19.101", "libssl-60250281.so.1.1.1k"):
        (libraries / name).write_text(name)
    peers.link_ffmpeg(tmp_path)
    found = {path.name: path.read_text() for path in (tmp_path / "ffmpeg").iterdir()}
    codec, other = "libavcodec-7ee0753d.so.61.19.101", "libssl-60250281.so.1.1.1k"
    assert found == {codec: codec, "libavcodec.so.61": codec, other: other}


def test_peers_programs_import_nothing_of_this_project():
    programs = sorted(peers.PROGRAMS.glob("peer_*.py"))
    assert len(programs) == 6
    assert not set().union(*(test_rooms.imported(path) for path in programs))


def test_records_are_the_same_as_tfrecords(made):
    (raw,) = (made / "raw" / "1.0.0").glob("*.array_record-*")
    wanted = records.ArrayRecordShard(epath.Path(raw))
    files = sorted(peer_data.tfrecords(made).iterdir())
    assert [path.name for path in files] == ["00000.tfrecord", "00005.tfrecord"]
    shards = [records.TFRecordShard(epath.Path(path)) for path in files]
    assert [len(shard) for shard in shards] == [5, 2]
    found = [shard.read(i) for shard in shards for i in range(len(shard))]
    assert found == [wanted.read(i) for i in range(7)]


def test_jpegs_are_those_of_the_episodes(made):
    found = our_side.whole_windows(str(made / "converted"), (256, 256))
    for number in range(7):
        (camera,) = found.source.episode(number).cameras.values()
        wanted = [bytes(file) for file in camera.read(range(len(camera)))]
        with np.load(peer_data.jpegs(made) / f"{number:05d}.npz") as stored:
            edges, joined = stored["edges"], stored["bytes"].tobytes()
        assert [joined[begin:end] for begin, end in zip(edges, edges[1:])] == wanted


def test_all_whole_windows_are_read_and_no_other(made):
    found = our_side.whole_windows(str(made / "converted"), (256, 256))
    lengths = [len(found.source.episode(number)) for number in range(7)]
    every = found.windows.all()
    places = set(zip(every.episodes.tolist(), every.starts.tolist()))
    assert places == {(e, s) for e, n in enumerate(lengths) for s in range(n - 34)}
    assert len(every) == len(places)
    assert next(iter(found.from_step())).frame_mask.all()


@pytest.mark.parametrize("what", ["pipeline", "decoding"])
def test_our_sides_have_the_same_pixels(made, what):
    root = str(made / "converted")
    command = [sys.executable, "-m", "data_pipelines.measuring.our_side"]
    with peers.started(what, [*command, what, root, "256", "256"]) as side:
        assert len(side.places) == data.BATCH
        peer_ratios.check_pixels(what, side, made / "converted")


def test_other_pixels_are_refused(made):
    match = r"liar: episode 1, step 2: its pixels differ"
    with pytest.raises(UserError, match=match):
        peer_ratios.in_turns({"liar": [sys.executable, "-c", TELLS]}, 1, made / "converted")


def test_sides_take_turns_and_medians_are_told():
    programs = {name: [sys.executable, "-c", COSTS.format(number)] for name, number in NUMBERS}
    assert peer_ratios.in_turns(programs, 3) == {"one": (21.0, 31.0), "two": (22.0, 32.0)}
