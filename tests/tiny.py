"""A very small experiment on a small data set, for tests of whole commands."""

import pathlib
import sys
from collections.abc import Sequence

import jax
import ml_collections
import numpy as np
import orbax.checkpoint as ocp
import simplejpeg

from configs import base
from data_pipelines import rlds_writer

SIZE = 16
ROOT = pathlib.Path(__file__).resolve().parent.parent

CHANGES = {
    "data.frames": 5,
    "data.resolution": (SIZE, SIZE),
    "data.held_out": 0.2,
    "encoder.patch": 4,
    "encoder.channels": 8,
    "encoder.clips": 32,
    "model.depth": 1,
    "model.unroll": 1,
    "model.latent_channels": 8,
    "model.video_width": 32,
    "model.video_heads": 2,
    "model.action_width": 32,
    "model.action_heads": 2,
    "model.bridge_width": 32,
    "model.bridge_heads": 2,
    "model.text_width": 32,
    "model.decoder_channels": (16, 32),
    "model.action_dim": 2,
    "model.state_dim": 3,
    "train.batch_size": 8,
    "train.log_every": 5,
    "train.evaluate_every": 1000,
    "optimizer.warmup": 5,
    "evaluate.tasks": (),
}
# Tests that train so share their programs through the folder that tests/conftest.py names. A cosine
# would depend on the number of steps.
QUICK = {
    "data__held_out": 0.0,
    "model__decoder_channels": (32,),
    "optimizer__schedule": "constant",
}


def config(data: pathlib.Path, **changes) -> ml_collections.ConfigDict:
    """The base configuration with `CHANGES` and more (keys with __ for the dot)."""
    result = base.get_config()
    given = {key.replace("__", "."): value for key, value in changes.items()}
    result.update_from_flattened_dict({**CHANGES, "data.root": str(data), **given})
    return result


def train_command(data: pathlib.Path, workdir: pathlib.Path, **changes) -> list[str]:
    """The command line that trains it."""
    given = {key.replace("__", "."): value for key, value in changes.items()}
    overrides = {**CHANGES, "data.root": str(data), **given}
    line = [sys.executable, "-m", "vidact.train", "--config", str(ROOT / "configs/base.py")]
    line += [f"--workdir={workdir}"]
    return line + [f"--config.{key}={value}" for key, value in overrides.items()]


def saved(workdir: pathlib.Path, step: int, item: str) -> dict:
    """An item of a checkpoint, `params` or `state`, as Orbax reads it by itself."""
    folder = workdir.absolute() / "checkpoints" / str(step) / item
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        known = reader.metadata(folder).item_metadata.tree
        # As NumPy's arrays: it may have been written by more processes than read it.
        how = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), known)
        return reader.restore(folder, args=ocp.args.PyTreeRestore(restore_args=how))


def write_data(
    root: pathlib.Path,
    episodes: int = 10,
    steps: int = 12,
    gripper: bool = False,
    damaged: Sequence[tuple[int, int]] = (),
) -> pathlib.Path:
    """A square that the action moves over a grey ground: real dynamics, SIZE pixels wide.

    With `gripper` the action has a third column, which closes at the goal. The frames of `damaged`,
    (episode, step), are cut short: no decoder takes them.
    """
    folder = root / "squares" / "1.0.0"
    spec = rlds_writer.features((SIZE, SIZE, 3), 3, 2 + gripper, {})
    made = [_episode(np.random.default_rng(i), steps, gripper) for i in range(episodes)]
    for episode, step in damaged:
        image = made[episode]["steps"][step]["observation"]["image"]
        image.truncate(len(image.getvalue()) // 2)
    rlds_writer.write(folder, made, spec, "a moving square", {"fps": 20.0})
    return folder


def _episode(rng: np.random.Generator, steps: int, gripper: bool = False) -> dict:
    place = rng.uniform(2, SIZE - 6, 2)
    goal, images, states, actions = rng.uniform(2, SIZE - 6, 2), [], [], []
    for _ in range(steps):
        pixels = np.full((SIZE, SIZE, 3), 90, np.uint8)
        row, column = place.astype(int)
        pixels[row : row + 4, column : column + 4] = (220, 40, 40)
        images.append(simplejpeg.encode_jpeg(pixels, quality=95))
        action = np.clip(goal - place, -1, 1)
        states.append([*place / SIZE, 1.0])
        closed = np.abs(goal - place).max() < 1
        actions.append([*action, closed] if gripper else action)
        place = place + action
    return rlds_writer.episode(
        images=images,
        states=np.asarray(states, np.float32),
        actions=np.asarray(actions, np.float32),
        rewards=[0.0] * steps,
        instruction="move the square to its place",
        terminal=True,
        metadata={},
    )
