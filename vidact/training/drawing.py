"""Film strips with curves of actions, as one picture."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw

from data_pipelines.inspect.strips import SHOWN, spread
from vidact import whole

WIDTH, MARGIN, LINE = 960, 6, 14
FRAME = 96
"""Height of a frame; smaller ones are enlarged in whole pixels."""
PANEL, CURVES = (150, 60), ((200, 40, 40), (40, 80, 200))
"""Size of a chart of one action dimension; the colours of its curves, as in report.html."""


class Row(NamedTuple):
    """One window.

    Attributes:
      title: stands above it.
      videos: strips, one below the other; none where there are no pixels.
      actions: normalised, without unit; the recorded first, then the generated.
      mask: True = a label; only these are drawn.
    """

    title: str
    videos: Sequence[UInt8[np.ndarray, "T H W 3"]]
    actions: Sequence[Float[np.ndarray, "Ta A"]]
    mask: Bool[np.ndarray, "Ta A"]


def draw(path: pathlib.Path, rows: Sequence[Row]) -> None:
    """Writes the windows one below the other as PNG, whole or not at all; `rows` is not empty."""
    parts = [part for row in rows for part in _row(row)]
    height = sum(part.height + MARGIN for part in parts) + MARGIN
    page = Image.new("RGB", (WIDTH + 2 * MARGIN, height), "white")
    y = MARGIN
    for part in parts:
        page.paste(part, (MARGIN, y))
        y += part.height + MARGIN
    with whole.replacing(path) as partial:
        page.save(partial, format="PNG")


def _row(row: Row) -> list[Image.Image]:
    title = Image.new("RGB", (WIDTH, LINE), "white")
    # The font that comes with Pillow has no letters beyond Latin-1.
    text = row.title.encode("latin-1", "replace").decode("latin-1")
    ImageDraw.Draw(title).text((0, 0), text, fill="black")
    return [title, *(_strip(video) for video in row.videos), _curves(row.actions, row.mask)]


def _strip(video: UInt8[np.ndarray, "T H W 3"]) -> Image.Image:
    frames = video[spread(len(video), SHOWN)]
    height, width = frames.shape[1:3]
    scale = max(FRAME // height, 1) if height <= FRAME else FRAME / height
    scale = min(scale, (WIDTH / len(frames) - MARGIN) / width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    strip = Image.new("RGB", (WIDTH, size[1]), "white")
    how = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
    for i, frame in enumerate(frames):
        strip.paste(Image.fromarray(frame).resize(size, how), (i * (size[0] + MARGIN), 0))
    return strip


def _curves(
    actions: Sequence[Float[np.ndarray, "Ta A"]], mask: Bool[np.ndarray, "Ta A"]
) -> Image.Image:
    """A chart per dimension, all on one scale, which holds at least [-1, 1]."""
    columns, dims = WIDTH // PANEL[0], mask.shape[1]
    page = Image.new("RGB", (WIDTH, -(-dims // columns) * PANEL[1]), "white")
    pen = ImageDraw.Draw(page)
    shown = np.concatenate([a[mask & np.isfinite(a)] for a in actions])
    bound = max(1.0, float(np.abs(shown).max(initial=0.0)))
    for dim in range(dims):
        left, top = dim % columns * PANEL[0], dim // columns * PANEL[1]
        middle = top + PANEL[1] / 2
        pen.line([(left, middle), (left + PANEL[0] - 10, middle)], fill=(200, 200, 200))
        pen.text((left, top), f"a{dim}", fill=(120, 120, 120))
        for values, colour in zip(actions, CURVES):
            keep = np.flatnonzero(mask[:, dim] & np.isfinite(values[:, dim]))
            x = left + keep / max(len(values) - 1, 1) * (PANEL[0] - 10)
            y = middle - values[keep, dim] / bound * (PANEL[1] / 2 - 4)
            points = list(zip(x.tolist(), y.tolist()))
            pen.line(points, fill=colour, width=2)
            for a, b in points:
                pen.rectangle((a - 1, b - 1, a + 1, b + 1), fill=colour)
    return page
