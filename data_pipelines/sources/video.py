"""The frames of a video file by random access.

The file is opened for every read, which costs about a millisecond: no file stays open, and threads
share nothing but the index of the frames' times.
"""

import itertools
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from etils import epath
from jaxtyping import UInt8

from data_pipelines.sources import packets
from data_pipelines.sources.packets import Index, Span
from vidact.errors import UserError


class VideoFrames:
    """The frames of a file, or of a span of it, in the order in which they are shown: a `Frames`.

    Frame i is the i-th that is shown, whatever the file's rate; within a span it is the one shown
    at the time of step i.
    """

    def __init__(self, path: epath.Path, steps: int, span: Span | None = None):
        """Nothing is read yet.

        Args:
          path: .mp4, .mov, .webm or .mkv.
          steps: how many frames there are.
          span: the part of the file, if it is not the whole.
        """
        self.nbytes = 2 * 8 * steps  # of the index, which the first read fills
        self._path, self._steps, self._span = path, steps, span
        self._lock = threading.Lock()
        self._index: Index | None = None

    def __len__(self) -> int:
        return self._steps

    def read(self, steps: Sequence[int]) -> Sequence[UInt8[np.ndarray, "H W 3"]]:
        """The RGB pixels of the frames at `steps`; see `Frames.read`.

        Raises:
          UserError: also where the file does not hold exactly the frames that are stated, or a
            step is beyond them.
        """
        beyond = [step for step in steps if not 0 <= step < self._steps]
        if beyond:
            raise UserError(
                f"{self._path}: no step {beyond[0]}: the episode has {self._steps} frames"
            )
        index = self._indexed()
        with packets.opened(self._path) as (container, stream):
            decoder = _Decoder(self._path, container, stream, index)
            found = {step: decoder.frame(step) for step in dict.fromkeys(steps)}
        return [found[step] for step in steps]

    def _indexed(self) -> Index:
        with self._lock:
            if self._index is None:
                self._index = packets.index(self._path, self._steps, self._span)
            return self._index


class _Decoder:
    """Decodes an open file forwards, and jumps to a key frame where that saves decoding."""

    def __init__(self, path: epath.Path, container: Any, stream: Any, index: Index):
        self._path, self._container, self._stream, self._index = path, container, stream, index
        self._next = -1  # the step that is decoded next; -1 before the first
        self._frames: Iterator[Any] = iter(())

    def frame(self, step: int) -> UInt8[np.ndarray, "H W 3"]:
        """The frame at a step beyond all before.

        Raises:
          UserError: it cannot be decoded soundly.
        """
        try:
            self._jump(step)
            return self._pixels(self._decode(step))
        except packets.library().FFmpegError as error:
            raise UserError(
                f"{self._path}: step {step} cannot be decoded ({error.strerror}); {packets.REMEDY}"
            ) from error

    def _jump(self, step: int) -> None:
        """Goes to the last key frame at or before `step`, unless that lies behind or is next."""
        times, keys = self._index.times, self._index.keys
        before = keys[: np.searchsorted(keys, times[step], side="right")]
        if self._next >= 0 and not (len(before) and before[-1] > times[self._next]):
            return
        # A reader that seeks by the order of decoding may come out at the key frame after.
        for key in before[::-1]:
            self._container.seek(int(key), stream=self._stream)
            frames = self._container.decode(self._stream)
            first = next(frames, None)
            if first is not None and first.pts is not None and first.pts <= times[step]:
                self._frames = itertools.chain([first], frames)
                return
        raise UserError(f"{self._path}: no key frame before step {step}; encode it again")

    def _decode(self, step: int) -> Any:
        time = self._index.times[step]
        for frame in self._frames:
            # A frame that was made up for a damaged one also spoils those that build on it.
            if frame.is_corrupt or frame.pts is None or frame.pts > time:
                break
            if frame.pts == time:
                self._next = step + 1
                return frame
        raise UserError(f"{self._path}: step {step} is damaged or missing; {packets.REMEDY}")

    def _pixels(self, frame: Any) -> UInt8[np.ndarray, "H W 3"]:
        packets.check_size(self._path, frame.width, frame.height)
        turns, rest = divmod(frame.rotation, 90)
        if rest:
            raise UserError(f"{self._path}: shown turned by {frame.rotation} degrees; encode it so")
        return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), turns))
