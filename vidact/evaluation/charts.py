"""Line charts as inline SVG, styled by the page's CSS: no fonts, scripts or pictures of their own.

A series' `style` is a CSS class of the page (`true`, `generated`, ...).
"""

import dataclasses
import html
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

WIDTH, HEIGHT = 960.0, 320.0
LEFT, BOTTOM, TOP, RIGHT = 48.0, 22.0, 34.0, 8.0
SPARK_WIDTH, SPARK_HEIGHT, SPARK_LEFT = 300.0, 50.0, 24.0
TICKS = 5


@dataclasses.dataclass(frozen=True)
class Series:
    """One line: points that are not finite are left out."""

    name: str
    style: str
    x: Float[np.ndarray, " n"]
    y: Float[np.ndarray, " n"]


@dataclasses.dataclass(frozen=True)
class _Axis:
    """Maps low..high to pixels start..end, linearly or by the logarithm."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        share = (value - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round numbers within the axis, at most about TICKS."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            every = (1, 2, 5) if len(decades) <= 4 else (1,)
            found = [m * 10.0**d for d in decades for m in every]
            near = 1 + 1e-9
            return [tick for tick in found if self.low / near <= tick <= self.high * near]
        if self.high <= self.low:
            return [self.low]
        step = _round((self.high - self.low) / TICKS, up=True)
        first = math.ceil(self.low / step)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def line_chart(series: Sequence[Series], *, label: str, log: bool = False) -> str:
    """A large chart with axes, grid and legend.

    Args:
      series: at least one point among them; with `log`, values at or below 0 are left out.
      label: what it shows, for people who cannot see it.
      log: a logarithmic y axis.
    """
    lines = [_clean(s, log) for s in series]
    lines = [s for s in lines if len(s.x)]
    box = _box(lines, log)
    grid = [_horizontal(box, tick) for tick in box[1].ticks()]
    grid += [_vertical(box, tick) for tick in box[0].ticks()]
    body = "".join(grid) + "".join(_line(box, s) for s in lines) + _legend(lines)
    return _svg(WIDTH, HEIGHT, body, label)


def sparkline(
    series: Sequence[Series], low: float, high: float, *, label: str, name: str = ""
) -> str:
    """A small chart of a given range, its name at the left: zero line, lines, a dot per point."""
    points = np.concatenate([s.x for s in series])
    across = _Axis(float(points.min()), float(points.max()), SPARK_LEFT, SPARK_WIDTH - 6)
    box = (across, _Axis(low, high, SPARK_HEIGHT - 6, 6.0))
    body = f'<text x="2" y="{SPARK_HEIGHT / 2 + 4}">{html.escape(name)}</text>'
    if low <= 0 <= high:
        body += f'<path class="grid" d="M{SPARK_LEFT} {box[1](0.0):.1f}H{SPARK_WIDTH}"/>'
    body += "".join(_line(box, s, dots=True) for s in series)
    return _svg(SPARK_WIDTH, SPARK_HEIGHT, body, label)


def _clean(series: Series, log: bool) -> Series:
    keep = np.isfinite(series.y) & (series.y > 0 if log else True)
    return dataclasses.replace(series, x=series.x[keep], y=series.y[keep])


def _box(series: Sequence[Series], log: bool) -> tuple[_Axis, _Axis]:
    x, y = (np.concatenate([getattr(s, name) for s in series]) for name in "xy")
    across = _Axis(float(x.min()), float(x.max()), LEFT, WIDTH - RIGHT)
    low, high = float(y.min()), float(y.max())
    if log:
        low, high = _round(low, up=False), _round(high, up=True)
    if low == high:
        low, high = low - 0.5, high + 0.5
    return across, _Axis(low, high, HEIGHT - BOTTOM, TOP, log)


def _round(value: float, up: bool) -> float:
    """The next of 1, 2, 5 times a power of ten, upwards or downwards; value > 0."""
    decade = 10.0 ** math.floor(math.log10(value))
    marks = [m * decade for m in (1, 2, 5, 10)]
    if up:
        return next(mark for mark in marks if mark >= value * (1 - 1e-9))
    return next(mark for mark in reversed(marks) if mark <= value * (1 + 1e-9))


def _line(box: tuple[_Axis, _Axis], series: Series, dots: bool = False) -> str:
    points = [(box[0](x), box[1](y)) for x, y in zip(series.x, series.y, strict=True)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    line = f'<polyline class="{series.style}" points="{path}"/>'
    if dots:
        circle = '<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="1.8"/>'
        line += "".join(circle.format(series.style, x, y) for x, y in points)
    return line


def _horizontal(box: tuple[_Axis, _Axis], tick: float) -> str:
    y = box[1](tick)
    line = f'<path class="grid" d="M{box[0].start} {y:.1f}H{box[0].end}"/>'
    return line + f'<text class="left" x="{LEFT - 6}" y="{y + 4:.1f}">{tick:g}</text>'


def _vertical(box: tuple[_Axis, _Axis], tick: float) -> str:
    x = box[0](tick)
    line = f'<path class="grid" d="M{x:.1f} {box[1].start}V{box[1].end}"/>'
    return line + f'<text class="middle" x="{x:.1f}" y="{box[1].start + 16}">{tick:g}</text>'


def _legend(series: Sequence[Series]) -> str:
    rows = []
    for i, one in enumerate(series):
        x = LEFT + 140 * i
        rows.append(f'<path class="{one.style}" d="M{x} 14h22"/>')
        rows.append(f'<text x="{x + 28}" y="18">{html.escape(one.name)}</text>')
    return "".join(rows)


def _svg(width: float, height: float, body: str, label: str) -> str:
    label = html.escape(label)
    return (
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {width:.0f} {height:.0f}">{body}</svg>'
    )
