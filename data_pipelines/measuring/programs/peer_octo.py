"""The stages of octo's data pipeline, in its order, over the TFRecord files of an RLDS data set.

  python peer_octo.py FOLDER [HEIGHT WIDTH]

Written after the public code of octo-models/octo (octo/data/dataset.py: make_interleaved_dataset,
octo/data/traj_transforms.py: chunk_act_obs, octo/data/obs_transforms.py: decode_and_resize) and of
kvablack/dlimp (dlimp/dataset.py, dlimp/utils.py: resize_image). Trajectories are cut into histories
of encoded frames, shuffled in a buffer of frames, and only then decoded and resized (Lanczos, with
antialiasing), each frame as an operation of its own. Augmentation is off.

Where it differs, it is for the comparison's sake: the thread pools are as large as the other
sides', the buffer holds 200 frames with their histories rather than 10,000 (which take 10 GB and
cost more), and JPEG files are decoded the accurate way so that the pixels can be compared.
"""

import pathlib
import sys
from collections.abc import Iterator

import peer_loop
import peer_tfdata
import tensorflow as tf
from peer_loop import BATCH, FRAMES, THREADS

_SHUFFLED = 200


def restructure(number: tf.Tensor, episode: dict) -> dict:
    """A trajectory as octo's standard has it: each entry has one row a step."""
    action = episode["steps/action"]
    length = tf.shape(action)[0]
    return {
        "observation": {
            "image_primary": episode["steps/observation/image"],
            "proprio": episode["steps/observation/state"],
            "timestep": tf.range(length),
        },
        "action": action,
        "dataset_name": tf.repeat("generated", length),
        "_traj_index": tf.repeat(number, length),
    }


def normalise(trajectory: dict) -> dict:
    """Action and state by given means and deviations."""
    trajectory["action"] = (trajectory["action"] - 0.0) / (1.0 + 1e-8)
    trajectory["observation"]["proprio"] = (trajectory["observation"]["proprio"] - 0.0) / (
        1.0 + 1e-8
    )
    return trajectory


def mark_padding(trajectory: dict) -> dict:
    """Which entries are there: an empty text or image is padding."""
    observation = trajectory["observation"]
    observation["pad_mask_dict"] = {
        name: tf.strings.length(value) != 0
        if value.dtype == tf.string
        else tf.ones(tf.shape(value)[:1], tf.bool)
        for name, value in observation.items()
    }
    trajectory["action_pad_mask"] = tf.ones_like(trajectory["action"], tf.bool)
    return trajectory


def chunk(trajectory: dict) -> dict:
    """Each step's history of FRAMES observations; before the first step the first is repeated."""
    length = tf.shape(trajectory["action"])[0]
    steps = tf.range(length)[:, None] + tf.range(1 - FRAMES, 1)
    trajectory["observation"]["timestep_pad_mask"] = steps >= 0
    steps = tf.maximum(steps, 0)
    mask = trajectory["observation"].pop("timestep_pad_mask")
    trajectory["observation"] = tf.nest.map_structure(
        lambda value: tf.gather(value, steps), trajectory["observation"]
    )
    trajectory["observation"]["timestep_pad_mask"] = mask
    for name in ("action", "action_pad_mask"):
        trajectory[name] = tf.gather(trajectory[name], steps)[:, :, None]
    return trajectory


def decode_and_resize(image: tf.Tensor, size: list[int]) -> tf.Tensor:
    """One frame."""
    image = tf.io.decode_jpeg(image, channels=3, dct_method="INTEGER_ACCURATE")
    if size:
        image = tf.image.resize(image, size, method="lanczos3", antialias=True)
        image = tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)
    return image


def frame_map(frame: dict, size: list[int]) -> dict:
    """Decodes a history, frame by frame."""
    files = tf.ensure_shape(frame["observation"]["image_primary"], [FRAMES])
    frames = [decode_and_resize(file, size) for file in tf.unstack(files)]
    frame["observation"]["image_primary"] = tf.stack(frames)
    return frame


def batches(folder: pathlib.Path, size: list[int]) -> Iterator[peer_loop.Windows]:
    """Endless; whole windows alone are told, the others begin before their episode."""
    options = tf.data.Options()
    options.autotune.enabled = True
    options.autotune.ram_budget = 1 << 30
    options.deterministic = False
    options.experimental_optimization.map_fusion = True
    options.experimental_optimization.map_and_filter_fusion = True
    options.experimental_optimization.inject_prefetch = False
    options.experimental_warm_start = True
    options.threading.private_threadpool_size = THREADS
    found = peer_tfdata.records(folder).map(peer_tfdata.parse, num_parallel_calls=THREADS)
    for stage in (restructure, normalise, mark_padding, chunk):
        found = found.map(stage, num_parallel_calls=THREADS)
    found = found.interleave(
        tf.data.Dataset.from_tensor_slices, cycle_length=THREADS, num_parallel_calls=THREADS
    ).shuffle(_SHUFFLED)
    found = found.map(lambda frame: frame_map(frame, size), num_parallel_calls=THREADS)
    for batch in found.batch(BATCH).with_options(options).as_numpy_iterator():
        starts = batch["observation"]["timestep"][:, -1] - (FRAMES - 1)
        places = list(zip(batch["_traj_index"].tolist(), starts.tolist()))
        yield peer_loop.Windows(places, batch["observation"]["image_primary"])


if __name__ == "__main__":
    peer_loop.serve(batches(pathlib.Path(sys.argv[1]), [int(side) for side in sys.argv[2:]]))
