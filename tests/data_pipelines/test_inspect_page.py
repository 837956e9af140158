"""The page of a data set: its numbers are those of the data, and it is closed to the outside."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from data_pipelines.choosing import STANDARD
from data_pipelines.inspect.__main__ import main
from tests.data_pipelines import shards, tables
from tests.data_pipelines.test_inspect_check import bridge
from tests.pages import Page, check_closed, chromium, needs_chromium

HOSTILE = '<script>alert("x")</script> & <img src=x onerror=y>'
NAN = "record 2: steps/observation/state at step 1, dimension 0 is nan"


def page(folder, out, *options) -> Page:
    main([str(folder), "--out", str(out), *options])
    return Page(out.read_text())


def words(page: Page) -> str:
    return " ".join(" ".join(page.texts).split())


def toy(root, file_format="array_record", count=6):
    """Episodes of 3, 4, ... steps; one cannot be read, one is hostile, two have no instruction."""
    episodes = [shards.with_wrist(shards.episode(i, steps=3 + i)) for i in range(count)]
    episodes[2]["steps"][1]["observation"]["state"][0] = np.nan
    for i, text in ((1, HOSTILE), (3, ""), (4, "  ")):
        for step in episodes[i]["steps"]:
            step["language_instruction"] = text
    return shards.write(root, episodes, file_format)


@pytest.mark.parametrize("file_format", shards.FORMATS)
def test_numbers_of_the_whole(tmp_path, file_format):
    found = page(toy(tmp_path, file_format), tmp_path / "p.html")
    lengths = {0: 3, 1: 4, 3: 6, 4: 7, 5: 8}
    actions = np.array([(i, e) for e, n in lengths.items() for i in range(n)], float)
    told = words(found)
    for expected in (
        "episodes 6 ",
        "that cannot be read 1 ",
        "steps 28 ",
        "rate 20 steps a second",
        "duration 1.4 s",
        "camera observation/image 16×16",
        "camera observation/wrist 24×24",
        "Steps of an episode: 3 to 8, median 6, mean 5.6.",
        "3 different ones; 2 episodes (40.0%) have none.",
        NAN,
    ):
        assert expected in told, expected
    head, first, second = found.tables["action"]
    assert head == ["column", "q01", "q99", "mean", "std", "min", "max", "at the extremes"]
    for i, line in enumerate((first, second)):
        column = actions[:, i]
        low, high = np.quantile(column, [0.01, 0.99])
        measured = [low, high, column.mean(), column.std(), column.min(), column.max()]
        ends = np.isin(column, [column.min(), column.max()]).mean()
        assert line == [f"action[{i}]", *(f"{v:.4g}" for v in measured), f"{ends:.1%}"]
    assert [line[0] for line in found.tables["state"][1:]] == [
        f"observation/state[{i}]" for i in range(3)
    ]
    told = found.tables["instructions"][1:]
    assert told == [["1", HOSTILE], ["1", "Do task 0"], ["1", "Do task 5"]]


def test_features_and_what_they_are_used_for(tmp_path):
    rows = page(toy(tmp_path), tmp_path / "p.html").tables["features"]
    known = {row[0]: row[1:] for row in rows[1:]}
    assert known["observation/image"] == ["image", "16×16×3", "camera", ""]
    assert known["observation/wrist"][:3] == ["image", "24×24×3", "camera"]
    assert known["action"] == ["array", "2", "action", ""]
    assert known["reward"] == ["array", "1 number", "", ""]
    assert known["language_instruction"] == ["text", "", "instruction", ""]
    *_, problem = known["observation/state"]
    assert problem.startswith("not readable in 1 of the 6 episodes below: ") and NAN in problem


def test_strips_and_curves(tmp_path):
    folder, out = toy(tmp_path), tmp_path / "p.html"
    found = page(folder, out)
    check_closed(out.read_text())
    sources = found.values("img", "src")
    assert len(sources) == 5 * 2  # sound episodes and cameras
    # Episode 5 has 8 steps of grey 8 * i + 5, and its wrist is brighter by 100.
    for source, side, base in zip(sources[-2:], (16, 24), (5, 105), strict=True):
        pixels = decoded(source)
        assert pixels.shape == (side, 8 * (side + 2) - 2, 3)
        middles = pixels[side // 2, side // 2 :: side + 2, 0].astype(int)
        np.testing.assert_allclose(middles, base + 8 * np.arange(8), atol=3)
    curves = found.values("polyline", "points")
    assert len(curves) == 5 * 2
    first = np.array([pair.split(",") for pair in curves[-2].split()], float)
    np.testing.assert_allclose(first[:, 0], np.arange(8) * 300 / 7, atol=0.06)
    assert (np.diff(first[:, 1]) < 0).all()  # action 0 counts the steps; up is less in a picture
    assert "polyline" not in NAN and words(found).count(NAN) == 3  # head, features, its card
    assert words(found).count("No instruction.") == 2


def decoded(source: str) -> np.ndarray:
    data = base64.b64decode(source.removeprefix("data:image/jpeg;base64,"), validate=True)
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "JPEG"
        return np.asarray(image)


def test_text_from_the_data_is_escaped(tmp_path):
    page(toy(tmp_path), tmp_path / "p.html")
    text = (tmp_path / "p.html").read_text()
    assert "<script" not in text and "&lt;script&gt;alert(" in text


def test_a_cut_frame_is_told_on_its_card(tmp_path):
    episode = shards.episode(0)
    image = episode["steps"][5]["observation"]["image"]
    episode["steps"][5]["observation"]["image"] = io.BytesIO(image.getvalue()[:-60])
    found = page(shards.write(tmp_path, [episode]), tmp_path / "p.html")
    assert not found.values("img", "src")
    assert "observation/image: cannot be decoded (" in words(found)


def test_episodes_are_spread_and_their_number_is_kept(tmp_path):
    folder = shards.write(tmp_path, [shards.episode(i) for i in range(21)])
    found = page(folder, tmp_path / "p.html", "--episodes", "5")
    told = re.findall(r"Do task \d+ episode (\d+), 6 steps, 0.3 s", words(found))
    assert told == ["0", "5", "10", "15", "20"]
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["p.html"]


def test_a_table_of_actions_without_camera_and_state(tmp_path):
    found = page(tables.write(tmp_path), tmp_path / "p.html")
    told = words(found)
    for missing in ("no camera: ", "no state: none goes by that name; choose with", "no rate: "):
        assert missing in told, missing
    assert "rate not stated" in told
    known = {row[0]: row[1:] for row in found.tables["features"][1:]}
    assert known["cloud"][0] == "other" and known["cloud"][-1] == "of a kind that is not read"
    names = ["action/gripper", "action/world_vector[0]", "action/world_vector[1]"]
    assert [row[0] for row in found.tables["action"][1:]] == names
    assert "state" not in found.tables
    assert told.count("action/world_vector[1]") == 1 + 3  # its statistics and three episodes


def test_episodes_without_steps_are_short_not_bad(tmp_path):
    folder = shards.write(tmp_path, [shards.episode(i, steps=3 - i) for i in range(4)])
    told = words(page(folder, tmp_path / "p.html"))
    for expected in ("cannot be read 0 ", "steps 6 ", "0 to 3, median 1.5", "2 hold no action"):
        assert expected in told, expected
    assert told.count("record 3: an episode without steps") == 1  # on its card
    assert "not readable" not in told


def test_a_row_of_the_registry_may_leave_nothing(tmp_path):
    bridge(tmp_path, [1, 2, 5])  # the row leaves out the first and the last step
    found = page(tmp_path / "bridge_dataset", tmp_path / "p.html", "--registry", "auto")
    told = words(found)
    for expected in ("cannot be read 0 ", "steps 3 ", "2 hold no action", "no step is left of it"):
        assert expected in told, expected
    assert len(found.values("img", "src")) == 2


def test_nothing_readable_is_a_page_too(tmp_path):
    folder = shards.write(tmp_path, [shards.episode(i) for i in range(2)], "tfrecord")
    path = shards.shard(folder)
    path.write_bytes(path.read_bytes()[:-1])
    found = page(folder, tmp_path / "p.html")
    assert "that cannot be read 2 " in words(found) and not found.values("img", "src")
    assert "action" not in found.tables


def test_real_bridge(shared, tmp_path):
    folder, out = shared / "data" / "bridge_dataset", tmp_path / "p.html"
    found = page(folder, out)
    told = words(found)
    for expected in ("episodes 25 ", "steps 250 ", "rate not stated", "(all of one colour)"):
        assert expected in told, expected
    assert len(found.values("img", "src")) == 12 * 4
    counts = {text: int(count) for count, text in found.tables["instructions"][1:]}
    assert len(counts) == 4 and sum(counts.values()) == 25
    assert out.stat().st_size < 2_000_000
    seen = page(folder, out, "--registry", "auto", "--split", "val", "--episodes", "3")
    told = words(seen)
    for expected in ("steps 200 ", "rate 5 steps a second", "robot WidowX", "bridge_dataset"):
        assert expected in told, expected
    names = list(STANDARD)
    assert [row[0] for row in seen.tables["action"][1:]] == names
    assert len(seen.values("img", "src")) == 3 * 2


@needs_chromium
def test_chromium_shows_it_without_console_errors(tmp_path):
    out, picture, phone = tmp_path / "p.html", tmp_path / "page.png", "--window-size=390,2000"
    page(toy(tmp_path), out)
    _, log = chromium(tmp_path, out, f"--screenshot={picture}")
    assert "CONSOLE" not in log, log
    with Image.open(picture) as image:
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 100
    count = "[...document.images].filter(i => i.naturalWidth > 0).length"
    wide = "document.documentElement.scrollWidth <= innerWidth"
    script = f"<script>onload = () => document.title = {count} + ' ' + ({wide})</script>"
    out.write_text(out.read_text() + script)
    dom, _ = chromium(tmp_path, out, "--dump-dom", phone)
    assert "<title>10 true</title>" in dom
