"""The command, with Apache Beam: killed for real, it goes on and loses nothing."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from data_pipelines import convert
from data_pipelines.sources.opening import open_source
from tests import tiny
from tests.data_pipelines import shards
from vidact.errors import UserError

pytest.importorskip("apache_beam", reason="Apache Beam is not installed (extra convert)")
COUNT, STEPS = 160, 12


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Episodes for ten shards."""
    episodes = [shards.episode(i % 100, STEPS, size=96) for i in range(COUNT)]
    return shards.write(tmp_path_factory.mktemp("source"), episodes, size=96)


def start(root, out, *arguments):
    command = [sys.executable, "-m", "data_pipelines.convert"]
    command += ["--source", f"rlds:{root}", "--out", str(out), *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=tiny.ROOT, stdout=pipe, stderr=pipe, text=True)


def done(out):
    return {path.name: path.stat().st_ino for path in out.glob("steps-*")}


def test_killed_for_real(root, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = start(root, killed)
    deadline = time.monotonic() + 120
    while len(done(killed)) < 2 and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    before = done(killed)
    assert 2 <= len(before) < 10
    with pytest.raises(UserError, match="has not come to its end"):
        open_source(str(killed))
    outputs = []
    for out in (killed, whole):
        process = start(root, out)
        outputs.append(process.communicate(timeout=300)[0].splitlines())
        assert process.returncode == 0
    assert outputs[0] == outputs[1]
    assert outputs[0][0] == f"frames: {COUNT * STEPS} shards: 10"
    assert outputs[0][1].startswith(f"episodes: {COUNT} steps: {COUNT * STEPS} bad: 0 checksum: ")
    after = done(killed)
    assert {name: after[name] for name in before} == before  # not written again
    for path in whole.iterdir():
        assert (killed / path.name).read_bytes() == path.read_bytes()
    assert len(list(killed.iterdir())) == len(list(whole.iterdir()))
    source = open_source(str(killed))
    numbers = [int(source.recording(i, ("action",)).features["action"][0, 1]) for i in range(COUNT)]
    assert numbers == [i % 100 for i in range(COUNT)]


def test_options(root, tmp_path, capsys):
    """In this process, with an option of ours and one of Beam's."""
    out = tmp_path / "out"
    arguments = ["--source", str(root), "--out", str(out), "--resize", "48x64"]
    convert.main([*arguments, "--job_name", "anything"])
    assert f"episodes: {COUNT} " in capsys.readouterr().out
    assert open_source(str(out)).features[shards.CAMERA].shape == (48, 64, 3)
    assert json.loads((out / "report.json").read_text()) == {"bad": [], "left_out": []}
    path = out / "frames-00003-of-00010.array_record"
    shards.flip_byte(path, 300)
    with pytest.raises(UserError, match=f"{path.name}.*1 shards of 10 are wrong"):
        convert.main(arguments)
    path.unlink()
    convert.main(arguments)
    assert open_source(str(out)).recording(60, (shards.CAMERA,)).cameras[shards.CAMERA].read([11])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resize", "48"], "--resize 48: write HEIGHTxWIDTH"),
        (["--camera", "wrist"], "--camera: neither our option nor Apache Beam's"),
        (["--cameras", "arm"], "no camera arm; choose from observation/image"),
    ],
)
def test_wrong_arguments(root, tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        convert.main(["--source", str(root), "--out", str(tmp_path / "out"), *arguments])
    assert not (tmp_path / "out").exists()
