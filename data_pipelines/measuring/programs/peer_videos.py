"""Writes generated episodes as a LeRobot data set, by LeRobot's own library.

  python peer_videos.py JPEGS OUT

JPEGS is a folder of npz files, one an episode: `bytes`, its JPEG files one after the other, and
`edges`, where they begin. All is h264 with a key frame in two, as good as the library makes it by
default; beside the data set, OUT.h264 gets one mp4 file an episode.
"""

import io
import pathlib
import shutil
import sys

import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.datasets.video_utils import encode_video_frames
from PIL import Image

CAMERA, FPS, NUMBERS = "observation.images.camera", 20, 7
_FEATURES = {
    CAMERA: {"dtype": "video", "shape": (256, 256, 3), "names": ["height", "width", "channels"]},
    "observation.state": {"dtype": "float32", "shape": (NUMBERS,), "names": None},
    "action": {"dtype": "float32", "shape": (NUMBERS,), "names": None},
}


def frames(path: pathlib.Path) -> list[np.ndarray]:
    """An episode's decoded frames, [256, 256, 3]."""
    with np.load(path) as stored:
        edges, joined = stored["edges"], stored["bytes"]
    files = (joined[begin:end].tobytes() for begin, end in zip(edges, edges[1:]))
    return [np.asarray(Image.open(io.BytesIO(file))) for file in files]


def write(episodes: list[pathlib.Path], out: pathlib.Path) -> None:
    """Writes all of them; what was begun before is removed."""
    videos = out.with_name(f"{out.name}.h264")
    for folder in (out, videos):
        shutil.rmtree(folder, ignore_errors=True)
    made = LeRobotDataset.create("generated", FPS, _FEATURES, root=out, vcodec="h264")
    numbers = np.zeros(NUMBERS, np.float32)
    for path in episodes:
        pictures = videos / path.stem
        pictures.mkdir(parents=True)
        for step, frame in enumerate(frames(path)):
            told = {CAMERA: frame, "observation.state": numbers, "action": numbers}
            made.add_frame({**told, "task": "made up"})
            Image.fromarray(frame).save(pictures / f"frame-{step:06d}.png", compress_level=1)
        made.save_episode()
        encode_video_frames(pictures, videos / f"{path.stem}.mp4", FPS, vcodec="h264", g=2)
        shutil.rmtree(pictures)
    made.finalize()


if __name__ == "__main__":
    write(sorted(pathlib.Path(sys.argv[1]).glob("*.npz")), pathlib.Path(sys.argv[2]))
