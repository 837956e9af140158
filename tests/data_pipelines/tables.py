"""A data set whose action is a table of arrays, as RT-1's, written as RLDS."""

import pathlib

import numpy as np
import tensorflow_datasets as tfds

from data_pipelines import rlds_writer

STEPS = 4


def write(root: pathlib.Path, episodes: int = 3) -> pathlib.Path:
    """No camera, no rate; at step i of episode e the vector is (e, i), the gripper i * 10.

    The feature `cloud` is of a kind that is not read.
    """
    vector = tfds.features.Tensor(shape=(2,), dtype=np.float32)
    step = {
        "observation": {"natural_language_instruction": tfds.features.Text(), "pose": vector},
        "action": {"world_vector": vector, "gripper": tfds.features.Scalar(dtype=np.int32)},
        "cloud": tfds.features.Tensor(shape=(3,), dtype=np.float32),
    }
    made = [{"steps": [_step(e, i) for i in range(STEPS)]} for e in range(episodes)]
    folder = root / "tables" / "1.0.0"
    spec = tfds.features.FeaturesDict({"steps": tfds.features.Dataset(step)})
    rlds_writer.write(folder, made, spec, "toy", {})
    features = folder / "features.json"
    told = features.read_text()
    assert told.count('"3"') == 1
    features.write_text(told.replace('"3"', '"-1"'))
    return folder


def _step(episode: int, i: int) -> dict:
    vector = np.array([episode, i], np.float32)
    return {
        "observation": {"natural_language_instruction": "pick" if episode else "", "pose": -vector},
        "action": {"world_vector": vector, "gripper": np.int32(10 * i)},
        "cloud": np.zeros(3, np.float32),
    }
