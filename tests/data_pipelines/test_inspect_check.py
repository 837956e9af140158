"""`python -m data_pipelines.inspect --check` finds each kind of damage and counts it."""

import io
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_pipelines import rlds_writer
from data_pipelines.inspect.__main__ import main
from tests import tiny
from tests.data_pipelines import shards
from vidact.errors import UserError


def check(capsys, folder, *options) -> tuple[int, list[str]]:
    """The exit code and what is printed."""
    try:
        main([str(folder), "--check", *options])
        code = 0
    except SystemExit as stop:
        code = stop.code
    return code, capsys.readouterr().out.splitlines()


def cut(episode: dict, step: int, keep: float = 0.6) -> dict:
    """Cuts off the end of a frame, whose header stays whole."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
    whole = shards.simplejpeg.encode_jpeg(pixels, quality=95, colorsubsampling="444")
    episode["steps"][step]["observation"]["image"] = io.BytesIO(whole[: int(keep * len(whole))])
    return episode


def spoil(episode: dict, step: int, key: str, value: float) -> dict:
    episode["steps"][step][key] = np.float32(value)
    return episode


def resize(episode: dict, step: int) -> dict:
    grey = shards.episode(0, 1, size=8)["steps"][0]["observation"]["image"]
    episode["steps"][step]["observation"]["image"] = grey
    return episode


@pytest.mark.parametrize("file_format", shards.FORMATS)
def test_sound_data_are_good(tmp_path, monkeypatch, capsys, file_format):
    monkeypatch.setattr(rlds_writer, "EPISODES_PER_SHARD", 2)
    episodes = [shards.with_wrist(shards.episode(i, steps=2 + i)) for i in range(5)]
    folder = shards.write(tmp_path, episodes, file_format)
    for options in ([], ["--fast"]):
        assert check(capsys, folder, *options) == (0, ["episodes: 5 bad: 0 skipped: 0"])


@pytest.mark.parametrize("file_format", shards.FORMATS)
def test_each_bad_and_skipped_episode_is_named(tmp_path, capsys, file_format):
    episodes = [shards.episode(i) for i in range(4)]
    # No view takes the reward, but the data set says that it is there.
    episodes += [spoil(shards.episode(4), 3, "reward", np.nan), cut(shards.episode(5), 2)]
    episodes += [shards.episode(6, steps=1), resize(shards.episode(7), 4), shards.episode(8, 0)]
    folder = shards.write(tmp_path, episodes, file_format)
    name = str(shards.shard(folder))
    code, lines = check(capsys, folder)
    assert code == 1
    assert lines[0].startswith(f"bad: episode 4: {name}: record 4: steps/reward at step 3 is nan; ")
    told = f"bad: episode 5: {name}: record 5: observation/image at step 2: cannot be decoded ("
    assert lines[1].startswith(told)
    assert lines[2] == f"skipped: episode 6: {name}: record 6: one step: no action to learn"
    assert lines[3].startswith(
        f"bad: episode 7: {name}: record 7: observation/image at step 4: is 8x8 where the data set "
        "states 16x16; "
    )
    assert lines[4].startswith(f"skipped: episode 8: {name}: record 8: ")
    assert "without steps" in lines[4]
    assert lines[5:] == ["episodes: 9 bad: 3 skipped: 2"]
    # Only the cut frame needs decoding to be found.
    code, lines = check(capsys, folder, "--fast")
    assert code == 1
    assert [line.split(":")[1].strip() for line in lines[:-1]] == [
        f"episode {i}" for i in (4, 6, 7, 8)
    ]
    assert lines[-1] == "episodes: 9 bad: 2 skipped: 2"


def test_a_corrupt_record_spoils_no_other(tmp_path, capsys):
    folder = shards.write(tmp_path / "t", [shards.episode(i) for i in range(8)], "tfrecord")
    shards.flip_byte(shards.shard(folder), -100)
    code, lines = check(capsys, folder)
    assert (code, lines[-1]) == (1, "episodes: 8 bad: 1 skipped: 0")
    assert "record 7: corrupt (checksum differs)" in lines[0]
    folder = shards.write(tmp_path / "a", [shards.episode(i) for i in range(8)])
    path = shards.shard(folder)
    shards.flip_byte(path, 3000)
    (damaged,) = [i for i in range(8) if not readable(path, i)]
    code, lines = check(capsys, folder)
    assert (code, lines[-1]) == (1, "episodes: 8 bad: 1 skipped: 0")
    assert lines[0].startswith(f"bad: episode {damaged}: {path}: record {damaged}: corrupt")


def readable(path, record: int) -> bool:
    """Whether a reader that has met no damage before reads an ArrayRecord's record."""
    reader = shards.ArrayRecordReader(str(path), options="readahead_buffer_size:0")
    try:
        return len(reader.read([record])) == 1
    except RuntimeError:
        return False


def test_a_truncated_shard_makes_all_its_episodes_bad(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(rlds_writer, "EPISODES_PER_SHARD", 4)
    folder = shards.write(tmp_path, [shards.episode(i) for i in range(10)], "tfrecord")
    path = shards.shard(folder, 1)
    path.write_bytes(path.read_bytes()[:-10])
    code, lines = check(capsys, folder)
    assert (code, lines[-1]) == (1, "episodes: 10 bad: 4 skipped: 0")
    assert all(f"{path.name}: record 3: truncated" in line for line in lines[:-1])


def test_cameras_of_different_length(tmp_path, capsys):
    folder = shards.write(tmp_path, [shards.with_wrist(shards.episode(0))], "tfrecord")
    shards.drop_frame(shards.shard(folder), shards.WRIST)
    code, lines = check(capsys, folder)
    assert (code, lines[-1]) == (1, "episodes: 1 bad: 1 skipped: 0")
    assert "observation/wrist has 5 steps where" in lines[0]


def bridge(folder, lengths):
    """Episodes of the features that the registry's row of BridgeData V2 takes."""
    image = tfds.features.Image(shape=(16, 16, 3), encoding_format="jpeg")
    numbers = tfds.features.Tensor(shape=(7,), dtype=np.float32)
    spec = {
        "observation": {"image_0": image, "image_1": image, "state": numbers},
        "action": numbers,
        "language_instruction": tfds.features.Text(),
    }
    frame = shards.episode(0, 1)["steps"][0]["observation"]["image"].getvalue()
    zeros = np.zeros(7, np.float32)

    def step():
        images = {"image_0": io.BytesIO(frame), "image_1": io.BytesIO(frame)}
        return {
            "observation": {**images, "state": zeros},
            "action": zeros,
            "language_instruction": "wait",
        }

    return rlds_writer.write(
        folder / "bridge_dataset" / "1.0.0",
        [{"steps": [step() for _ in range(length)]} for length in lengths],
        tfds.features.FeaturesDict({"steps": tfds.features.Dataset(spec)}),
        "made of one frame",
        {},
    )


def test_a_row_of_the_registry_is_applied(tmp_path, capsys):
    bridge(tmp_path, [2, 3, 4, 5])  # the row leaves out the first and the last step
    folder = tmp_path / "bridge_dataset"
    assert check(capsys, folder) == (0, ["episodes: 4 bad: 0 skipped: 0"])
    for name in ("auto", "bridge_dataset"):
        code, lines = check(capsys, folder, "--registry", name)
        assert (code, lines[-1]) == (0, "episodes: 4 bad: 0 skipped: 2")
        assert "record 0: no step of the 2 that are stored, by the registry's row" in lines[0]
        assert "record 1: one step of the 3 that are stored, by the registry's row" in lines[1]


@pytest.mark.parametrize("split", ["train", "val"])
def test_real_bridge(shared, capsys, split):
    folder = shared / "data" / "bridge_dataset"
    for options in ([], ["--fast"], ["--registry", "auto"]):
        found = check(capsys, folder, "--split", split, *options)
        assert found == (0, ["episodes: 25 bad: 0 skipped: 0"])


def test_real_bridge_with_a_flipped_byte(shared, tmp_path, capsys):
    folder = tmp_path / "bridge_dataset" / "1.0.0"
    folder.mkdir(parents=True)
    for path in (shared / "data" / "bridge_dataset" / "1.0.0").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    shards.flip_byte(folder / "bridge_dataset-train.tfrecord-00000-of-00001", 2_000_000)
    code, lines = check(capsys, folder)
    assert (code, lines[-1]) == (1, "episodes: 25 bad: 1 skipped: 0")
    assert len(lines) == 2 and "corrupt (checksum differs)" in lines[0]


def run(*arguments) -> subprocess.CompletedProcess:
    line = [sys.executable, "-m", "data_pipelines.inspect", *map(str, arguments)]
    return subprocess.run(line, cwd=tiny.ROOT, capture_output=True, text=True, check=False)


def test_the_command_and_its_exit_codes(tmp_path):
    done = run("--help")
    assert done.returncode == 0
    assert (
        "Examples:" in done.stdout and "python -m data_pipelines.inspect DIR --check" in done.stdout
    )
    folder = shards.write(
        tmp_path, [shards.episode(0), spoil(shards.episode(1), 0, "reward", np.inf)]
    )
    done = run(folder, "--check")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "episodes: 2 bad: 1 skipped: 0"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["FOLDER", "--split", "test"], "no split 'test'"),
        (
            ["FOLDER", "--action", "twist"],
            "--action twist: no array of that name; choose from action",
        ),
        (["FOLDER", "--image", "action"], "choose from observation/image"),
        (["FOLDER", "--fast"], "--check"),
        (["FOLDER", "--check", "--out", "x.html"], "--out"),
        (["FOLDER", "--episodes", "0"], "--episodes 0"),
        (["FOLDER", "--registry", "auto"], "no folder of its path"),
        (["FOLDER", "--registry", "bridge_dataset"], "no observation/image_0"),
        (["FOLDER", "--registry", "auto", "--action", "action"], "leave the keys out"),
        (["FOLDER", "--out", "FOLDER/features.json/x.html"], "features.json"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(tmp_path, arguments, named):
    folder = shards.write(tmp_path, [shards.episode(0)])
    with pytest.raises(UserError) as error:
        main([argument.replace("FOLDER", str(folder)) for argument in arguments])
    assert named in str(error.value) and "\n" not in str(error.value)


def test_a_mistake_ends_with_2():
    done = run("/nowhere", "--check")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: /nowhere: no such folder")
