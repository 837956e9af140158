"""What the benchmark hashes and compares; its figures are no matter of tests."""

import hashlib
import pathlib

import numpy as np
import pytest

from data_pipelines import benchmark, pipeline, survey
from data_pipelines.bad_records import BadRecords
from data_pipelines.measuring import data, decoding, hashing, memory
from data_pipelines.sources.opening import open_source
from data_pipelines.windows import split_episodes
from tests.data_pipelines import shards
from vidact.errors import UserError

COUNT = 4


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three generated episodes, raw and converted."""
    folder = tmp_path_factory.mktemp("made")
    data.make(folder, 3, size=32)
    return folder


@pytest.fixture
def open_one(made):
    config = shards.config(made / "converted", resolution=(32, 32), held_out=0.0)

    def found(host, hosts):
        named = {"process_index": host, "process_count": hosts}
        return pipeline.make_dataset(config, seed=1, batch_size=4, **named)

    return found


def test_the_hash_is_of_names_types_shapes_and_bytes(open_one):
    digest = hashlib.sha256()
    whole = open_one(0, 1)
    for step in range(COUNT):
        for name, array in whole.batch_at(step).as_dict().items():
            digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            digest.update(array.tobytes())
    assert hashing.hash_batches(open_one, COUNT, 1) == digest.hexdigest()
    assert hashing.hash_batches(open_one, COUNT - 1, 1) != digest.hexdigest()


@pytest.mark.parametrize("hosts", [1, 2, 4])
def test_hosts_and_new_starts_do_not_matter(open_one, hosts):
    want = hashing.hash_batches(open_one, COUNT, 1)
    for resume_at in (None, *range(COUNT + 1)):
        assert hashing.hash_batches(open_one, COUNT, hosts, resume_at) == want


def test_the_command_hashes(made, capsys):
    lines = []
    for arguments in (["--hosts", "1"], ["--hosts", "2", "--resume-at", "1"]):
        source = ["--source", str(made / "converted"), "--config.data.resolution=(32, 32)"]
        benchmark.main(["--hash-batches", "2", "--batch-size", "4", *arguments, *source])
        lines.append(capsys.readouterr().out)
    assert lines[0] == lines[1]
    assert lines[0].startswith("batches sha256: ") and len(lines[0]) == 16 + 64 + 1
    with pytest.raises(UserError, match="--resume-at 3: lies outside of the batches"):
        benchmark.main(["--hash-batches", "2", "--resume-at", "3", *source])


def test_frames_weigh_what_photographs_do(tmp_path):
    data.make(tmp_path, 1)
    recording = open_source(str(tmp_path / "raw")).recording(0, (shards.CAMERA,))
    files = recording.cameras[shards.CAMERA].read(range(recording.steps))
    assert 60 <= recording.steps <= 129
    assert 20_000 < np.mean([len(file) for file in files]) < 28_000


def test_both_sides_see_the_same_windows_and_pixels(made, open_one, monkeypatch):
    found = open_one(0, 1)
    sides = list(decoding.ratios(found, 1))
    assert len(sides) == 1 and min(sides[0]) > 0
    files = decoding._files(found, 3)
    batch = found.batch_at(3)
    assert [len(window) for window in files] == batch.frame_mask.sum(1).tolist()
    monkeypatch.setattr(decoding, "_files", lambda found, step: list(reversed(files)))
    with pytest.raises(AssertionError, match="pixels of both sides differ"):
        list(decoding.ratios(found, 1))


def test_a_multiplied_data_set_reads_as_its_source(made, tmp_path):
    small, large = made / "converted", tmp_path / "large"
    data.multiplied(small, large, 50)
    one, other = open_source(str(small)), open_source(str(large))
    assert len(other) == 150 and other.fingerprint != one.fingerprint
    for index in (0, 3, 149):
        a, b = (s.recording(i, ("action",)) for s, i in ((one, index % 3), (other, index)))
        np.testing.assert_array_equal(a.features["action"], b.features["action"])
    memory.share_survey(small, large)
    (data_set,) = memory.opening.open_source(data.config(large)).data_sets
    train, _ = split_episodes(150, data.config("").held_out)
    kept = survey.survey(data_set, train, BadRecords("error"))
    assert kept.lengths.tolist() == one.lengths.tolist() * 50
    assert memory.peak_mb(pathlib.Path(large), 1) > 50
