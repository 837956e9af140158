"""The pipeline, or decoding alone, measured by the same loop as the peers' programs.

  python -m data_pipelines.measuring.our_side pipeline|decoding ROOT HEIGHT WIDTH

Windows are whole, none goes beyond its episode's end, as with the peers.
"""

import concurrent.futures
import dataclasses
import itertools
import sys
from collections.abc import Iterator

import numpy as np
import simplejpeg

from data_pipelines.loading import WindowDataset
from data_pipelines.measuring import data
from data_pipelines.measuring.programs import peer_loop
from data_pipelines.order import Part, order


def whole_windows(root: str, size: tuple[int, int]) -> WindowDataset:
    """The windows of all episodes that repeat no frame, in a random order."""
    config = data.config(root)
    config.update(resolution=size, held_out=0.0)
    found = data.windows(config)
    every = found.windows.all()
    lengths = np.bincount(every.episodes) + 1  # an episode of n steps has n - 1 windows
    whole = np.flatnonzero(every.starts + config.frames <= lengths[every.episodes])
    return dataclasses.replace(
        found,
        windows=every.at(whole),
        bounds=np.array([0, len(whole)]),
        order=order([[Part(0, len(whole), 1.0)]], [data.BATCH], found.seed),
    )


def pipeline_batches(found: WindowDataset) -> Iterator[peer_loop.Windows]:
    """Endless, as training sees them."""
    for step, batch in enumerate(found.from_step()):
        places = found.windows.at(found.indices_at(step))
        yield peer_loop.Windows(np.stack([places.episodes, places.starts], -1), batch.pixels)


def decoded_batches(found: WindowDataset) -> Iterator[peer_loop.Windows]:
    """The same batches, of JPEG files that are in memory, into a buffer made before."""
    out = np.ones((data.BATCH, data.FRAMES, *found.config.resolution, 3), np.uint8)
    held = {number: _files(found, number) for number in set(found.windows.all().episodes.tolist())}

    def fill(place: list[int], row: np.ndarray) -> None:
        number, start = place
        for file, frame in zip(held[number][start : start + data.FRAMES], row, strict=True):
            simplejpeg.decode_jpeg(file, buffer=frame)

    with concurrent.futures.ThreadPoolExecutor(found.config.threads) as pool:
        for step in itertools.count():
            windows = found.windows.at(found.indices_at(step))
            places = np.stack([windows.episodes, windows.starts], -1)
            list(pool.map(fill, places.tolist(), out))
            yield peer_loop.Windows(places, out)


def _files(found: WindowDataset, number: int) -> list[bytes]:
    (camera,) = found.source.episode(number).cameras.values()
    assert camera is not None
    return [bytes(file) for file in camera.read(range(len(camera)))]


def main(what: str, root: str, height: str, width: str) -> None:
    """Serves either."""
    found = whole_windows(root, (int(height), int(width)))
    made = {"pipeline": pipeline_batches, "decoding": decoded_batches}[what]
    peer_loop.serve(made(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
