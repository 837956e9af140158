"""Result files read back."""

import json

import numpy as np
import pytest
from PIL import Image

from vidact.errors import UserError
from vidact.evaluation import files


def test_json_knows_no_nan(tmp_path):
    path = tmp_path / "result.json"
    value = {"a": float("nan"), "b": [np.float32(0.5), np.inf], 3: np.array([1, 2]), "t": (True,)}
    files.write_json(path, value)
    assert json.loads(path.read_text()) == {"a": None, "b": [0.5, None], "3": [1, 2], "t": [True]}
    assert files.read_json(path) == json.loads(path.read_text())
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def test_a_missing_file_is_none_and_a_damaged_one_is_named(tmp_path):
    path = tmp_path / "result.json"
    assert files.read_json(path) is None
    path.write_text('{"a": ')
    with pytest.raises(UserError, match=r"result\.json"):
        files.read_json(path)
    path.write_text("[1]")
    with pytest.raises(UserError, match=r"result\.json: holds no JSON object"):
        files.read_json(path)


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "result.json"
    files.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        files.write_json(path, {"a": object()})
    assert files.read_json(path) == {"a": 1}


def write_result(folder, text: str, disk: str = "/dev/null") -> None:
    """Two files of one result; `disk` may be full."""
    with files.together(folder, "all.json") as place, open(disk, "w") as file:
        (place / "a.txt").write_text(text)
        files.write_json(place / "all.json", {"text": text})
        file.write(text)
        file.flush()


def test_files_of_one_result_come_together_or_not_at_all(tmp_path):
    write_result(tmp_path, "old")
    with pytest.raises(UserError, match="No space left on device; make room"):
        write_result(tmp_path, "new", "/dev/full")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert files.read_json(tmp_path / "all.json") == {"text": "old"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "all.json"]


def test_files_that_were_exchanged_in_part_are_described_by_none(tmp_path):
    write_result(tmp_path, "old")
    (tmp_path / "a.txt").unlink()
    (tmp_path / "a.txt").mkdir()  # which no file can replace
    with pytest.raises(IsADirectoryError):
        write_result(tmp_path, "new")
    assert not (tmp_path / "all.json").exists()


def test_videos_side_by_side():
    left, right = (np.full((2, 4, 4, 3), v, np.uint8) for v in (10, 20))
    both = files.beside(left, right)
    assert both.shape == (2, 4, 8 + files.GAP, 3)
    assert (both[:, :, :4] == 10).all() and (both[:, :, -4:] == 20).all()
    assert (both[:, :, 4 : 4 + files.GAP] == 255).all()


@pytest.mark.parametrize("suffix", [".webp", ".gif", ".png"])
def test_a_loop_decodes_frame_by_frame(tmp_path, suffix):
    video = np.zeros((4, 64, 64, 3), np.uint8)
    for i in range(4):
        video[i, :, 16 * i : 16 * i + 16] = (250, 250, 250)
    path = tmp_path / f"loop{suffix}"
    files.save_loop(path, video, fps=10.0)
    with Image.open(path) as image:
        assert image.size == (192, 192) and image.n_frames == 4
        assert image.info["loop"] == 0
        for i in range(4):
            image.seek(i)
            frame = np.asarray(image.convert("RGB"))[1::3, 1::3].astype(int)
            assert image.info["duration"] == (1000 if i == 3 else 100)
            assert np.abs(frame - video[i]).max() < 30


def test_large_videos_are_not_enlarged(tmp_path):
    files.save_loop(tmp_path / "loop.webp", np.zeros((2, 256, 256, 3), np.uint8), fps=10.0)
    with Image.open(tmp_path / "loop.webp") as image:
        assert image.size == (256, 256)
