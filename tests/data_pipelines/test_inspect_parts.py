"""The parts of the page that numbers go through: counts at the extremes, charts, strips."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from data_pipelines.inspect import charts
from data_pipelines.inspect.gather import Extremes
from data_pipelines.inspect.strips import spread, strip
from data_pipelines.sources.recording import StoredFrames
from tests.data_pipelines import shards


@pytest.mark.parametrize("seed", range(5))
def test_extremes_are_counted_over_all_parts(seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 4, (60, 3)).astype(np.float32)
    values[:, 2] = 7
    extremes = Extremes()
    for part in np.split(values, np.sort(rng.choice(np.arange(1, 60), 6, replace=False))):
        extremes.add(part)
    want = [np.isin(column, [column.min(), column.max()]).mean() for column in values.T]
    np.testing.assert_allclose(extremes.shares(), want)
    assert extremes.shares()[2] == 1


def drawn(svg: str) -> tuple[np.ndarray, dict[str, float]]:
    """The line's points, and the band's rectangle."""
    root = ET.fromstring(svg)
    points = root.find("polyline").attrib["points"].split()
    band = {k: float(v) for k, v in root.find("rect").attrib.items() if k != "class"}
    return np.array([pair.split(",") for pair in points], float), band


def test_a_curve_and_its_band_are_on_one_scale():
    line, band = drawn(charts.curve(np.array([-2.0, 0.0, 2.0]), -1.0, 1.0, "a <b>"))
    np.testing.assert_allclose(line[:, 0], [0, 150, 300])
    np.testing.assert_allclose(line[:, 1], [56, 30, 4])
    assert (band["y"], band["height"]) == (17, 26)  # the middle half


def test_a_curve_without_spread_or_of_one_step_is_drawn_in_the_middle():
    for values in (np.full(3, 5.0), np.array([5.0])):
        line, band = drawn(charts.curve(values, 5.0, 5.0, "constant"))
        np.testing.assert_allclose(line[:, 1], 30)
        assert line[-1, 0] == 300
        assert band["height"] == 1


def test_a_long_curve_keeps_its_spikes():
    values = np.zeros(10_000)
    values[7777] = 1
    line, _ = drawn(charts.curve(values, 0.0, 0.5, "spike"))
    assert len(line) <= 202
    (top,) = np.flatnonzero(line[:, 1] < 5)
    assert line[top, 0] == pytest.approx(7777 * 300 / 9999, abs=0.06)


def test_the_bars_of_a_histogram_say_what_they_count():
    lengths = np.array([10, 10, 12, 89])
    root = ET.fromstring(charts.histogram(lengths, "lengths"))
    told = [node.text for node in root.iter("title")]
    assert told[:2] == ["10 to 11 steps: 2 episodes", "12 to 13 steps: 1 episodes"]
    assert told[-1] == "88 to 89 steps: 1 episodes" and len(told) == 40
    tall = [float(bar.attrib["height"]) for bar in root.iter("rect")]
    assert tall[0] == 2 * tall[1] == 2 * tall[-1] and sum(tall) == 2 * tall[0]


def test_spread():
    assert spread(3, 8) == [0, 1, 2]
    assert spread(10, 4) == [0, 3, 6, 9]
    assert spread(100, 1) == [0]


def test_a_strip_of_one_colour_is_told():
    frames = [shards.episode(0, 1)["steps"][0]["observation"]["image"].getvalue()] * 4
    assert strip(StoredFrames(frames)).flat
    steps = shards.episode(0, 4)["steps"]
    moving = [step["observation"]["image"].getvalue() for step in steps]
    found = strip(StoredFrames(moving))
    assert not found.flat and found.steps == (0, 1, 2, 3)
