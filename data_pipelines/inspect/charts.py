"""Small charts as inline SVG without text: the page writes the numbers beside them.

They fill whatever box they get: widths are stretched, strokes are not.
"""

import html

import numpy as np
from jaxtyping import Float, Int

_WIDTH, _HEIGHT, _MARGIN = 300.0, 60.0, 4.0
_MAX_POINTS = 200
_MAX_BARS = 40


def curve(values: Float[np.ndarray, " n"], low: float, high: float, label: str) -> str:
    """A line over n >= 1 steps; behind it the band from `low` to `high` and a line at zero.

    Args:
      values: finite. Of a long series the extremes of each short span are drawn.
      low, high: low <= high.
      label: what it shows, for people who cannot see it.
    """
    bottom, top = min(low, float(values.min())), max(high, float(values.max()))
    scale = (_HEIGHT - 2 * _MARGIN) / (top - bottom) if top > bottom else 0.0
    middle = 0.0 if scale else _HEIGHT / 2 - _MARGIN

    def y(value: float) -> float:
        return _HEIGHT - _MARGIN - middle - (value - bottom) * scale

    steps = _thinned(values)
    x = steps * (_WIDTH / max(len(values) - 1, 1))
    points = " ".join(f"{a:.1f},{y(b):.1f}" for a, b in zip(x, values[steps].tolist(), strict=True))
    if len(steps) == 1:
        points += f" {_WIDTH:.1f},{y(float(values[0])):.1f}"
    thick = max(y(low) - y(high), 1.0)
    band = f'<rect class="band" x="0" y="{y(high):.1f}" width="{_WIDTH}" height="{thick:.1f}"/>'
    zero = f'<path class="zero" d="M0 {y(0.0):.1f}H{_WIDTH}"/>' if bottom <= 0 <= top else ""
    return _svg(f'{band}{zero}<polyline points="{points}"/>', label)


def histogram(lengths: Int[np.ndarray, " E"], label: str) -> str:
    """Bars for E >= 1 whole numbers, each of which says its range and count when pointed at."""
    low, high = int(lengths.min()), int(lengths.max())
    wide = -(-(high - low + 1) // _MAX_BARS)
    counts = np.bincount((lengths - low) // wide)
    each, bars = _WIDTH / len(counts), []
    for i, count in enumerate(counts.tolist()):
        first = low + i * wide
        span = f"{first}" if wide == 1 else f"{first} to {first + wide - 1}"
        tall = count / counts.max() * (_HEIGHT - _MARGIN)
        bars.append(
            f'<rect class="bar" x="{i * each:.2f}" y="{_HEIGHT - tall:.1f}" '
            f'width="{0.9 * each:.2f}" height="{tall:.1f}">'
            f"<title>{span} steps: {count} episodes</title></rect>"
        )
    return _svg("".join(bars), label)


def _thinned(values: np.ndarray) -> np.ndarray:
    """Steps to draw: all, or the least and the greatest value of each span."""
    if len(values) <= _MAX_POINTS:
        return np.arange(len(values))
    edges = np.linspace(0, len(values), _MAX_POINTS // 2 + 1).astype(int)
    spans = list(zip(edges[:-1], edges[1:]))
    ends = [
        begin + pick(values[begin:end]) for begin, end in spans for pick in (np.argmin, np.argmax)
    ]
    return np.unique([0, *ends, len(values) - 1])


def _svg(body: str, label: str) -> str:
    return (
        f'<svg role="img" aria-label="{html.escape(label)}" preserveAspectRatio="none" '
        f'viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}">{body}</svg>'
    )
