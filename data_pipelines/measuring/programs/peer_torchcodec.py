"""Random windows straight from h264 files by torchcodec, each on one of two threads.

  python peer_torchcodec.py FOLDER

FOLDER holds one mp4 file an episode. Each thread keeps one decoder a file open, which is the least
that a program can do for a window.
"""

import concurrent.futures
import pathlib
import sys
import threading
from collections.abc import Iterator

import numpy as np
import peer_loop
from peer_loop import BATCH, FRAMES, THREADS
from torchcodec.decoders import VideoDecoder


def batches(folder: pathlib.Path) -> Iterator[peer_loop.Windows]:
    """Endless."""
    paths = sorted(folder.glob("*.mp4"))
    mine = threading.local()

    def decoder(number: int) -> VideoDecoder:
        held = mine.__dict__.setdefault("held", {})
        if number not in held:
            held[number] = VideoDecoder(
                str(paths[number]),
                dimension_order="NHWC",
                num_ffmpeg_threads=1,
                seek_mode="approximate",
            )
        return held[number]

    lengths = [decoder(number).metadata.num_frames for number in range(len(paths))]
    rng = np.random.default_rng(0)

    def fill(place: tuple[int, int], out: np.ndarray) -> None:
        number, start = place
        frames = decoder(number).get_frames_in_range(start, start + FRAMES)
        out[:] = frames.data.numpy()

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        while True:
            numbers = rng.integers(len(paths), size=BATCH).tolist()
            places = [(n, int(rng.integers(lengths[n] - FRAMES + 1))) for n in numbers]
            pixels = np.empty((BATCH, FRAMES, 256, 256, 3), np.uint8)
            list(pool.map(fill, places, pixels))
            yield peer_loop.Windows(places, pixels)


if __name__ == "__main__":
    peer_loop.serve(batches(pathlib.Path(sys.argv[1])), hashed=False)
