"""A work directory of the smallest size: a fresh model, and episodes that look like Meta-World's.

Training itself would compile for a minute and is tested in tests/training.
"""

import functools
import pathlib
import shutil
from collections.abc import Sequence

import jax
import ml_collections
import numpy as np
import simplejpeg
import tensorflow_datasets as tfds

from configs import base
from data_pipelines import pipeline, rlds_writer
from vidact.models import registry
from vidact.training import checkpoints, logs, prepare, runs, state
from vidact.training.optimizer import make_optimizer

TASKS = {"drawer-open": "open the drawer", "button-press": "press the button"}
EPISODES, STEPS, FRAMES = 8, 12, 5
METADATA = {
    "task": tfds.features.Text(),
    "hand_start": tfds.features.Tensor(shape=(None,), dtype=np.float32),
    "object_start": tfds.features.Tensor(shape=(None,), dtype=np.float32),
}


def copy(factory, folder: pathlib.Path) -> pathlib.Path:
    """A work directory of the test's own, written once per session; `factory` is pytest's."""
    return shutil.copytree(_written(factory.getbasetemp() / "tiny"), folder / "run")


@functools.cache
def _written(folder: pathlib.Path) -> pathlib.Path:
    return write(folder)


def mixture(workdir: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Makes a copied run one on two data sets, `squares` and `gripper`, of the same weights.

    Those of `gripper` have 3 columns, of which the last is a gripper of 0 and 1, mostly 1.
    """
    settings = runs.read_config(workdir)
    second = write_data(folder, name="gripper", columns=3, episodes=5)
    settings.data.sources = ((settings.data.root, 1.0), (str(second), 3.0, {"gripper": 2}))
    both = pipeline.make_dataset(settings.data, seed=0, batch_size=1)
    measured = dict(zip(both.source.names, both.statistics, strict=True))
    runs.write_assets(workdir, None, measured, both.source, {})
    runs.write_config(workdir, settings)
    return workdir


def write_data(
    folder: pathlib.Path,
    metadata: bool = True,
    name: str = "squares",
    columns: int = 4,
    episodes: int = EPISODES,
    damaged: Sequence[tuple[int, int]] = (),
) -> pathlib.Path:
    """A square moves over a grey floor; each task has half of the episodes.

    The frames of `damaged`, (episode, step), are cut short.
    """
    spec = rlds_writer.features((64, 64, 3), columns, columns, METADATA if metadata else {})
    written = [_episode(number, metadata, columns, episodes) for number in range(episodes)]
    for episode, step in damaged:
        image = written[episode]["steps"][step]["observation"]["image"]
        image.truncate(len(image.getvalue()) // 2)
    rlds_writer.write(folder / name / "1.0.0", written, spec, name, {"fps": 20.0})
    return folder / name / "1.0.0"


def config(root: pathlib.Path) -> ml_collections.ConfigDict:
    """The defaults at the smallest sizes."""
    found = base.get_config()
    found.data.update(root=str(root), frames=FRAMES, held_out=0.25, cache_mb=8)
    found.encoder.update(frames=4, channels=6, clips=8)
    found.model.update(depth=1, unroll=1, latent_channels=6, decoder_channels=(8, 8), text_width=16)
    for stream in ("video", "action", "bridge"):
        found.model[f"{stream}_width"], found.model[f"{stream}_heads"] = 16, 2
    found.train.update(steps=5)
    found.evaluate.update(tasks=("button-press",), rollouts=2, steps=1, sample_steps=2, clips=4)
    return found


def write(folder: pathlib.Path, damaged: Sequence[tuple[int, int]] = ()) -> pathlib.Path:
    """Writes the data and a run's work directory, whose path it returns."""
    settings, workdir = config(write_data(folder, damaged=damaged)), folder / "run"
    settings.data.on_bad_record = "skip" if damaged else "error"
    train = pipeline.make_dataset(settings.data, seed=0, batch_size=1)
    codec = prepare.fit_codec(settings.encoder, train)
    measured = dict(zip(train.source.names, train.statistics, strict=True))
    runs.write_assets(workdir, codec, measured, train.source, {})
    runs.write_config(workdir, settings)
    optimizer = make_optimizer(settings.optimizer, settings.train.steps)
    make = registry.maker(settings)
    quickly = {"xla_backend_optimization_level": 0}
    fresh = jax.jit(lambda: state.create(make, (), optimizer), compiler_options=quickly)()
    with checkpoints.open_manager(workdir, settings.train) as manager:
        checkpoints.save(manager, fresh, {"step": 0, "config": settings.to_dict()})
        manager.wait_until_finished()
    logger = logs.Logger(workdir)
    for step in range(1, 6):
        losses = {"loss": 3 / step, "loss/video": 2 / step, "loss/action": 1 / step}
        logger.write(step, losses | {"seconds": 0.5})
    logger.write(5, {"held out loss/video": 0.5, "held out loss/action": 0.3})
    logger.close()
    return workdir


def _episode(number: int, metadata: bool, columns: int, episodes: int) -> dict:
    rng = np.random.default_rng(number)
    task = list(TASKS)[number * len(TASKS) // episodes]
    images = []
    for step in range(STEPS):
        picture = np.full((64, 64, 3), 96, np.uint8)
        picture[8 + number : 24 + number, 3 * step : 3 * step + 16] = (200, 40, 40)
        images.append(simplejpeg.encode_jpeg(picture, quality=90))
    states = rng.normal(size=(STEPS, columns)).astype(np.float32)
    actions = rng.uniform(-1, 1, (STEPS, columns)).astype(np.float32)
    if columns == 3:
        actions[:, 2] = rng.uniform(size=STEPS) < 0.8
    return rlds_writer.episode(
        images=images,
        states=states,
        actions=actions,
        rewards=[0.0] * STEPS,
        instruction=TASKS[task] if metadata else "move the square",
        terminal=True,
        metadata={
            "task": task,
            "hand_start": rng.normal(size=3).astype(np.float32),
            "object_start": rng.normal(size=3).astype(np.float32),
        }
        if metadata
        else {},
    )
