"""Result files: JSON that every reader takes, and looping pictures."""

import contextlib
import json
import math
import os
import pathlib
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from vidact import whole
from vidact.errors import UserError

# What the commands leave in a run's work directory.
EVALUATION, ROLLOUTS, SAMPLES = "evaluation.json", "rollouts", "samples"
REPORT, TIMINGS = "report.html", "timings.json"

LOOP_PIXELS = 192
"""Height up to which small videos are enlarged, so that people can see them."""
GAP = 2
_OPTIONS: dict[str, dict[str, Any]] = {
    ".webp": dict(quality=80, method=4),
    ".gif": dict(optimize=True),
    ".png": dict(),
}


@contextlib.contextmanager
def together(folder: pathlib.Path, last: str) -> Iterator[pathlib.Path]:
    """A place for files of one result, which come into `folder` all at once, or none does.

    Args:
      folder: made if it is not there.
      last: name of the file that describes the others. It is gone while they are exchanged, and
        comes last: it never describes files of another result.

    Raises:
      UserError: they cannot be written; what was in `folder` stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".", suffix=".partial") as partial:
        place = pathlib.Path(partial)
        try:
            yield place
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"{folder}: {reason}; make room or choose another folder") from error
        (folder / last).unlink(missing_ok=True)
        for path in sorted(place.iterdir(), key=lambda path: path.name == last):
            os.replace(path, folder / path.name)


def write_json(path: pathlib.Path, value: Mapping[str, Any]) -> None:
    """Writes JSON, whole or not at all; NaN and infinity, which JSON lacks, become null."""
    text = json.dumps(_plain(value), indent=1, allow_nan=False)
    whole.write(path, text + "\n")


def read_json(path: pathlib.Path) -> dict[str, Any] | None:
    """What `write_json` wrote, or None where there is no such file.

    Raises:
      UserError: the file is damaged.
    """
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); remove it and measure again") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: holds no JSON object; remove it and measure again")
    return value


def beside(*videos: UInt8[np.ndarray, "T H W 3"]) -> UInt8[np.ndarray, "T H V 3"]:
    """Videos of equal length and height side by side, a white gap between them."""
    gap = np.full((*videos[0].shape[:2], GAP, 3), 255, np.uint8)
    parts = [part for video in videos for part in (video, gap)]
    return np.concatenate(parts[:-1], axis=2)


def save_loop(path: pathlib.Path, video: UInt8[np.ndarray, "T H W 3"], fps: float) -> None:
    """Writes an endless loop, enlarged in whole pixels; the last frame rests a second.

    Args:
      path: .webp, .gif or .png (animated PNG).
      video: at least two frames.
      fps: frames a second.
    """
    scale = max(1, LOOP_PIXELS // video.shape[1])
    large = video.repeat(scale, axis=1).repeat(scale, axis=2)
    frames = [Image.fromarray(frame) for frame in large]
    durations = [round(1000 / fps)] * (len(frames) - 1) + [1000]
    path.parent.mkdir(parents=True, exist_ok=True)
    frames[0].save(
        path,
        save_all=True,
        append_images=frames[1:],
        duration=durations,
        loop=0,
        **_OPTIONS[path.suffix],
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value
