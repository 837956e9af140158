"""What the pipeline costs beside decoding: CPU seconds of both, in turns, on the same windows."""

import concurrent.futures
import time
from collections.abc import Iterator, Sequence

import numpy as np
import simplejpeg
from jaxtyping import UInt8

from data_pipelines.loading import WindowDataset

_BATCHES = 8  # of a repeat


def ratios(found: WindowDataset, repeats: int) -> Iterator[tuple[float, float]]:
    """CPU ms a window of decoding alone, and of the pipeline, repeat by repeat.

    Decoding alone is simplejpeg on the JPEG files of the same windows, held in memory, into a
    buffer made before; on as many threads as the pipeline has.

    Args:
      found: windows of one camera as large as its stored frames, in batches by step.
      repeats: each on other windows; one more warms up both sides.

    Raises:
      AssertionError: both sides' pixels are not equal.
    """
    for repeat in range(repeats + 1):
        steps = range(repeat * _BATCHES, (repeat + 1) * _BATCHES)
        windows = [files for step in steps for files in _files(found, step)]
        alone, pixels = _alone(windows, found.config.threads)
        whole = pipeline_ms(found, steps)
        if repeat:
            yield alone, whole
        batch = found.batch_at(steps[-1])
        for row, place in zip(pixels[-len(batch.pixels) :], batch.pixels, strict=True):
            assert np.array_equal(place[: len(row)], row), "the pixels of both sides differ"


def pipeline_ms(found: WindowDataset, steps: range) -> float:
    """CPU ms a window of the batches `steps`, all threads together."""
    count, began = 0, time.process_time()
    for batch in found.from_step(steps.start, steps.stop):
        count += len(batch.state)
    return 1e3 * (time.process_time() - began) / count


def _files(found: WindowDataset, step: int) -> list[list[bytes]]:
    """The recorded frames of a batch's windows."""
    places = found.windows.at(found.indices_at(step))
    files = []
    for number, start in zip(places.episodes.tolist(), places.starts.tolist()):
        (camera,) = found.source.episode(number).cameras.values()
        assert camera is not None, "the data set lacks the camera"
        stop = min(start + found.config.frames, len(camera))
        files.append([bytes(file) for file in camera.read(range(start, stop))])
    return files


def _alone(
    windows: Sequence[Sequence[bytes]], threads: int
) -> tuple[float, list[UInt8[np.ndarray, "n H W 3"]]]:
    """CPU ms a window, and the pixels."""
    shape = simplejpeg.decode_jpeg(windows[0][0]).shape
    buffers = [np.ones((len(files), *shape), np.uint8) for files in windows]

    def decode(number: int) -> None:
        for file, out in zip(windows[number], buffers[number]):
            simplejpeg.decode_jpeg(file, buffer=out)

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        began = time.process_time()
        list(pool.map(decode, range(len(windows))))
        return 1e3 * (time.process_time() - began) / len(windows), buffers
