"""Small LeRobot data sets that tests write themselves, in the layouts that LeRobot publishes."""

import json
import pathlib
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.data_pipelines.sources import videos

VERSIONS = ("v2.1", "v3.0")
LENGTHS = (6, 9, 4)
TASKS = ("open the drawer", "close it")
TOP, WRIST, DEPTH = (f"observation.images.{name}" for name in ("top", "wrist", "depth"))
V2_DATA = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
V2_VIDEO = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
V3_DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
V3_VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
# Version 3: which file holds an episode. A second chunk begins after the first file.
DATA_FILES = ((0, 0), (0, 0), (1, 0))
VIDEO_FILES = ((0, 0), (1, 0), (1, 0))
_ONE = {"shape": [1], "names": None}
FEATURES = {
    "action": {"dtype": "float32", "shape": [2], "names": ["x", "y"]},
    "observation.state": {"dtype": "float64", "shape": [3], "names": None},
    "observation.grid": {"dtype": "int64", "shape": [2, 2], "names": None},
    TOP: {"dtype": "video", "shape": [3, *videos.SIZE], "names": ["channels", "height", "width"]},
    WRIST: {"dtype": "image", "shape": [24, 32, 3], "names": ["height", "width", "channels"]},
    DEPTH: {"dtype": "video", "shape": [24, 32, 1], "info": {"video.is_depth_map": True}},
    "next.done": {"dtype": "bool", **_ONE},
    "subtask": {"dtype": "string", **_ONE},
    "language_events": {"dtype": "language", **_ONE},
    "timestamp": {"dtype": "float32", **_ONE},
    **{
        name: {"dtype": "int64", **_ONE}
        for name in ("frame_index", "episode_index", "index", "task_index")
    },
}
_LISTS = {  # how Hugging Face's datasets store arrays
    "action": pa.list_(pa.float32(), 2),
    "observation.state": pa.list_(pa.float64()),
    "observation.grid": pa.list_(pa.list_(pa.int64())),
    WRIST: pa.struct({"bytes": pa.binary(), "path": pa.string()}),
    "timestamp": pa.float32(),
}


def columns(episode: int) -> dict[str, list]:
    """What the rows of an episode hold; action i is (i, episode), the task changes half-way."""
    steps = LENGTHS[episode]
    first = sum(LENGTHS[:episode])
    return {
        "action": [[i, episode] for i in range(steps)],
        "observation.state": [[i / 8, -i, 100 * episode] for i in range(steps)],
        "observation.grid": [[[i, 1], [2, 3]] for i in range(steps)],
        WRIST: [{"bytes": wrist(episode, i), "path": f"frame-{i:06d}.png"} for i in range(steps)],
        "next.done": [i == steps - 1 for i in range(steps)],
        "subtask": [f"part {i // 2}" for i in range(steps)],
        "timestamp": [i / videos.FPS for i in range(steps)],
        "frame_index": list(range(steps)),
        "episode_index": [episode] * steps,
        "index": list(range(first, first + steps)),
        "task_index": [int(i >= steps // 2) for i in range(steps)],
    }


def wrist(episode: int, step: int) -> bytes:
    """The picture of the wrist's camera, a PNG file of 24 x 32 pixels."""
    return videos.png(np.full((24, 32, 3), 20 * step + episode, np.uint8))


def write(root: pathlib.Path, version: str, **changes) -> pathlib.Path:
    """Writes the data set, with changes to meta/info.json, and returns its folder.

    The top camera's videos of single episodes stay beside it: encoding is not quite deterministic.
    """
    folder = root / "set"
    info = {
        "codebase_version": version,
        "robot_type": "toy",
        "total_episodes": len(LENGTHS),
        "total_frames": sum(LENGTHS),
        "total_tasks": len(TASKS),
        "chunks_size": 2,
        "fps": videos.FPS,
        "splits": {"train": "0:2", "test": "2:3"},
        "features": FEATURES,
        "data_path": V3_DATA if version == "v3.0" else V2_DATA,
        "video_path": V3_VIDEO if version == "v3.0" else V2_VIDEO,
        **changes,
    }
    (folder / "meta").mkdir(parents=True)
    (folder / "meta/info.json").write_text(json.dumps(info, indent=4))
    parts = [
        videos.write(root / f"{i}.mp4", videos.pixels(n, seed=i)) for i, n in enumerate(LENGTHS)
    ]
    (_write_3 if version == "v3.0" else _write_2)(folder, parts)
    return folder


def table(rows: dict[str, list]) -> pa.Table:
    """Rows as the types that LeRobot stores."""
    return pa.table({key: pa.array(value, _LISTS.get(key)) for key, value in rows.items()})


def edit(path: pathlib.Path, **changes) -> None:
    """Puts other values into columns of a Parquet file; None removes the column."""
    rows = pq.read_table(path)
    for key, values in changes.items():
        rows = rows.drop_columns([key]) if key in rows.column_names else rows
        if values is not None:
            rows = rows.append_column(key, pa.array(values))
    pq.write_table(rows, path)


def data_file(folder: pathlib.Path, version: str, episode: int) -> pathlib.Path:
    """The file of an episode's numbers."""
    chunk, file = DATA_FILES[episode]
    if version == "v3.0":
        return folder / f"data/chunk-{chunk:03d}/file-{file:03d}.parquet"
    return folder / f"data/chunk-{episode // 2:03d}/episode_{episode:06d}.parquet"


def video_file(folder: pathlib.Path, version: str, episode: int) -> pathlib.Path:
    """The file of the top camera's video of an episode."""
    chunk, file = VIDEO_FILES[episode]
    if version == "v3.0":
        return folder / f"videos/{TOP}/chunk-{chunk:03d}/file-{file:03d}.mp4"
    return folder / f"videos/chunk-{episode // 2:03d}/{TOP}/episode_{episode:06d}.mp4"


def _write_2(folder: pathlib.Path, parts: list[pathlib.Path]) -> None:
    for episode, part in enumerate(parts):
        data, video = (file(folder, "v2.1", episode) for file in (data_file, video_file))
        data.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table(columns(episode)), data)
        video.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(part, video)
    episodes = [
        {"episode_index": i, "tasks": list(TASKS), "length": n} for i, n in enumerate(LENGTHS)
    ]
    _write_lines(folder / "meta/episodes.jsonl", episodes)
    tasks = [{"task_index": i, "task": task} for i, task in enumerate(TASKS)]
    _write_lines(folder / "meta/tasks.jsonl", tasks)
    stats = [{"episode_index": i, "stats": {}} for i in range(len(LENGTHS))]
    _write_lines(folder / "meta/episodes_stats.jsonl", stats)


def _write_lines(path: pathlib.Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _write_3(folder: pathlib.Path, parts: list[pathlib.Path]) -> None:
    for place in sorted(set(DATA_FILES)):
        mine = [i for i, other in enumerate(DATA_FILES) if other == place]
        path = data_file(folder, "v3.0", mine[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(path, table(columns(0)).schema) as writer:
            for episode in mine:  # a group of rows each
                writer.write_table(table(columns(episode)))
    for place in sorted(set(VIDEO_FILES)):
        mine = [i for i, other in enumerate(VIDEO_FILES) if other == place]
        videos.join([parts[i] for i in mine], video_file(folder, "v3.0", mine[0]))
    for i in range(len(LENGTHS)):
        path = folder / f"meta/episodes/chunk-000/file-{i // 2:03d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        if i % 2 == 0:
            rows = [_episode_3(j) for j in range(i, min(i + 2, len(LENGTHS)))]
            pq.write_table(pa.Table.from_pylist(rows), path)
    # As pandas writes a table whose index are the texts.
    tasks = pa.table({"task_index": list(range(len(TASKS))), "__index_level_0__": TASKS})
    pq.write_table(tasks, folder / "meta/tasks.parquet")


def _episode_3(episode: int) -> dict:
    before = [i for i in range(episode) if VIDEO_FILES[i] == VIDEO_FILES[episode]]
    start = sum(LENGTHS[i] for i in before) / videos.FPS
    (chunk, file), (data_chunk, data_file) = VIDEO_FILES[episode], DATA_FILES[episode]
    row = {
        "episode_index": episode,
        "data/chunk_index": data_chunk,
        "data/file_index": data_file,
        "dataset_from_index": sum(LENGTHS[:episode]),
        "dataset_to_index": sum(LENGTHS[: episode + 1]),
        "tasks": list(TASKS),
        "length": LENGTHS[episode],
        "stats/action/min": [0.0, 0.0],
        "meta/episodes/chunk_index": 0,
        "meta/episodes/file_index": 0,
    }
    for key in (TOP, DEPTH):
        row[f"videos/{key}/chunk_index"] = chunk
        row[f"videos/{key}/file_index"] = file
        row[f"videos/{key}/from_timestamp"] = start
        row[f"videos/{key}/to_timestamp"] = start + LENGTHS[episode] / videos.FPS
    return row
