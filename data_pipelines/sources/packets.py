"""What a video file says of its frames, without decoding them; through PyAV (FFmpeg)."""

import contextlib
import importlib
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from etils import epath
from jaxtyping import Int

from data_pipelines.sources import matroska
from vidact.errors import UserError

FORMATS = {".mp4": "mp4", ".mov": "mov", ".webm": "matroska", ".mkv": "matroska"}
"""FFmpeg's reader by suffix: it is never guessed, since some others follow links to other files."""
MAX_PIXELS = 2**25
"""Largest frame that is read, as `data_pipelines.frames` has it for images."""
MAX_FRAMES = 2**24
"""Most frames of a file, 155 hours at 30 fps."""
MAX_FPS = 1000.0
REMEDY = "copy or download the file again"


class Span(NamedTuple):
    """The part of a file that is an episode: frame i is shown at `start` + i / `fps` seconds."""

    start: float
    fps: float


class Header(NamedTuple):
    """Attributes: frames: how many, at least 1. fps: frames a second, on average."""

    frames: int
    fps: float


class Index(NamedTuple):
    """When frames are shown, ascending, in the stream's units.

    Attributes:
      times: of the frames, all different.
      keys: of the key frames, where decoding may begin; some may lie before the first of `times`.
      unit: seconds.
    """

    times: Int[np.ndarray, " n"]
    keys: Int[np.ndarray, " k"]
    unit: float


def library() -> Any:
    """PyAV. Raises: UserError: it is not installed."""
    try:
        return importlib.import_module("av")
    except ImportError as error:
        raise UserError("av: not installed; run `pip install vidact[video]`") from error


@contextlib.contextmanager
def opened(path: epath.Path) -> Iterator[tuple[Any, Any]]:
    """The container of a file and its first video stream, which decodes on one thread.

    Raises:
      UserError: no sound video file, of too large frames, or a thing that FFmpeg or the system
        says while it is open.
    """
    av = library()
    try:
        form = FORMATS[path.suffix.lower()]
        with path.open("rb") as file, av.open(file, format=form, metadata_errors="replace") as box:
            stream = next(iter(box.streams.video), None)
            if stream is None or stream.codec_context is None:
                raise UserError(f"{path}: holds no video that can be decoded; encode it as h264")
            check_size(path, stream.width, stream.height)
            # The pipeline's threads already share the cores.
            stream.codec_context.thread_count = 1
            yield box, stream
    except (av.FFmpegError, OSError) as error:
        reason = error.strerror
        raise UserError(f"{path}: damaged, truncated or missing ({reason}); {REMEDY}") from error


def check_size(path: epath.Path, width: int, height: int) -> None:
    """Raises: UserError: more than MAX_PIXELS."""
    if width * height > MAX_PIXELS:
        raise UserError(
            f"{path}: frames of {height}x{width} pixels; at most {MAX_PIXELS} are read; scale it"
        )


def probe(path: epath.Path) -> Header:
    """Number and rate of a file's frames, from its header where that counts them.

    Raises:
      UserError: see `opened`; or truncated, without frames, or of no rate.
    """
    with opened(path) as (container, stream):
        fps = float(stream.average_rate or 0)
        if not 0 < fps <= MAX_FPS:
            raise UserError(f"{path}: states no frame rate that can be; encode it again")
        if stream.frames:
            ends = (entry.pos + entry.size for entry in stream.index_entries)
            _check_end(path, max(ends, default=0))
            # Frames that an edit list cuts off are stored but not shown.
            count = sum(not entry.is_discard for entry in stream.index_entries)
        else:  # Matroska and fragmented files do not count
            count = len(_times(path, container, stream)[0])
    if FORMATS[path.suffix.lower()] == "matroska":
        _check_end(path, matroska.stated_size(path) or 0)
    if not 0 < count <= MAX_FRAMES:
        raise UserError(f"{path}: {count} frames; 1 to {MAX_FRAMES} are read; split or remove it")
    return Header(count, fps)


def _check_end(path: epath.Path, end: int) -> None:
    size = path.stat().length
    if end > size:
        raise UserError(f"{path}: truncated, the file ends {end - size} bytes early; {REMEDY}")


def index(path: epath.Path, steps: int, span: Span | None = None) -> Index:
    """Where the frames of `span`, or of the whole file, lie; its packets are read, not decoded.

    Args:
      path: the file.
      steps: how many frames there should be.
      span: which part of it; the frames are those from half a frame before it to half a frame
        before its end, since time stamps are rounded.

    Raises:
      UserError: see `opened`; or frames are missing, too many or not where they should be.
    """
    with opened(path) as (container, stream):
        times, keys = _times(path, container, stream, steps, span)
        unit = float(stream.time_base)
    if len(times) != steps:
        part = f" at {span.fps:g} fps from {span.start:g} s on" if span else ""
        raise UserError(
            f"{path}: holds {len(times)} frames where {steps} are stated{part}; {REMEDY}"
        )
    found = Index(np.array(sorted(times), np.int64), np.array(sorted(keys), np.int64), unit)
    _check_times(path, found, span)
    return found


def _times(
    path: epath.Path, container: Any, stream: Any, steps: int = 0, span: Span | None = None
) -> tuple[list[int], list[int]]:
    """The times of frames and key frames, in the order in which they are stored."""
    first, stop = -math.inf, math.inf
    if span:
        unit = float(stream.time_base)
        first = (span.start - 0.5 / span.fps) / unit
        stop = (span.start + (steps - 0.5) / span.fps) / unit
        if first > 0:
            container.seek(int(first), stream=stream)
    times: list[int] = []
    keys: list[int] = []
    for packet in container.demux(stream):
        if not packet.size:
            continue  # the end
        if packet.is_corrupt or packet.pts is None or len(times) > MAX_FRAMES:
            raise UserError(f"{path}: truncated, without time stamps or too long; {REMEDY}")
        if packet.dts is not None and packet.dts >= stop:
            break  # what follows is shown later still
        if packet.is_keyframe:
            keys.append(packet.pts)
        if first <= packet.pts < stop and not packet.is_discard:
            times.append(packet.pts)
    return times, keys


def _check_times(path: epath.Path, found: Index, span: Span | None) -> None:
    if (np.diff(found.times) == 0).any():
        raise UserError(f"{path}: two frames have the same time stamp; encode it again")
    if span is None:
        return
    expected = span.start + np.arange(len(found.times)) / span.fps
    wrong = np.abs(found.times * found.unit - expected) > 0.5 / span.fps
    if wrong.any():
        step = int(wrong.argmax())
        raise UserError(
            f"{path}: no frame at {expected[step]:.3f} s, for step {step} of the episode that "
            f"begins at {span.start:g} s; encode it again at {span.fps:g} fps"
        )
