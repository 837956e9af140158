"""Charts are sound XML and keep their points in the picture."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from vidact.evaluation.charts import Series, line_chart, sparkline


def points(svg: str) -> list[np.ndarray]:
    root = ET.fromstring(svg)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    found = []
    for line in root.iter("polyline"):
        pairs = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
        found.append(np.array(pairs))
        assert (found[-1] >= 0).all() and (found[-1] <= (width, height)).all()
    return found


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 300.0])
def test_points_lie_inside_and_keep_their_order(log, scale):
    x = np.arange(1, 51, dtype=float)
    falling, rising = Series("a", "video", x, scale / x), Series("b <&>", "action", x, scale * x)
    one, other = points(line_chart([falling, rising], label="losses", log=log))
    assert (np.diff(one[:, 0]) > 0).all()
    assert (np.diff(one[:, 1]) >= 0).all() and (np.diff(other[:, 1]) <= 0).all()
    assert np.ptp(one[:, 1]) > 4 and np.ptp(other[:, 1]) > 100


def test_what_is_not_finite_is_left_out():
    y = np.array([1.0, np.nan, np.inf, 0.0, 2.0])
    (line,) = points(line_chart([Series("a", "video", np.arange(5.0), y)], label="l", log=True))
    assert len(line) == 2


def test_a_single_point_and_a_constant_are_charts_too():
    for y in ([3.0], [3.0, 3.0]):
        series = Series("a", "video", np.arange(float(len(y))), np.array(y))
        for log in (False, True):
            assert len(points(line_chart([series], label="l", log=log))) == 1
        assert len(points(sparkline([series], 3.0, 3.0, label="l"))) == 1


def test_ticks_are_round_numbers():
    series = Series("a", "video", np.array([0.0, 2400.0]), np.array([0.03, 4.0]))
    root = ET.fromstring(line_chart([series], label="l", log=True))
    texts = [node.text for node in root.iter("text")]
    assert {"0.02", "0.1", "1", "5", "0", "500", "2000"} <= set(texts)
