"""LeRobotDataset as its users read it: delta_timestamps and a DataLoader of two workers.

python peer_lerobot.py FOLDER
"""

import pathlib
import sys
from collections.abc import Iterator

import numpy as np
import peer_loop
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from peer_loop import BATCH, FRAMES, THREADS
from peer_videos import CAMERA, FPS


def batches(folder: pathlib.Path) -> Iterator[peer_loop.Windows]:
    """Endless, in a random order; no window goes beyond its episode's end."""
    wanted = {CAMERA: [step / FPS for step in range(FRAMES)]}
    wanted["action"] = wanted[CAMERA][:-1]
    found = LeRobotDataset("generated", root=folder, delta_timestamps=wanted)
    lengths = [int(length) for length in found.meta.episodes["length"]]
    begins = np.cumsum([0, *lengths])
    whole = [
        int(begin) + start
        for begin, length in zip(begins, lengths)
        for start in range(length - FRAMES + 1)
    ]
    loader = torch.utils.data.DataLoader(
        found,
        batch_size=BATCH,
        sampler=torch.utils.data.SubsetRandomSampler(whole),
        num_workers=THREADS,
        persistent_workers=True,
        drop_last=True,
    )
    while True:
        for batch in loader:
            places = torch.stack([batch["episode_index"], batch["frame_index"]], -1)
            yield peer_loop.Windows(places, batch[CAMERA])


if __name__ == "__main__":
    peer_loop.serve(batches(pathlib.Path(sys.argv[1])), hashed=False)
