"""BridgeData in TFRecords trains through the real command, without TensorFlow, and is learnt."""

import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import bridge
from data_pipelines import rlds_writer
from tests import tiny
from tests.data_pipelines import shards
from vidact.encoders.encode import encode
from vidact.training import feed, prepare, step

FREE = ("data.frames", "data.held_out", "encoder.channels", "encoder.clips", "evaluate.tasks")
SMALL = {
    key: value
    for key, value in tiny.CHANGES.items()
    if key in FREE or (key.startswith(("model.", "train.")) and not key.endswith("_dim"))
}


def config(root: pathlib.Path, image_key: str = "observation/image_0"):
    """configs/bridge.py with a small model; every other setting is the experiment's."""
    result = bridge.get_config()
    result.update_from_flattened_dict(SMALL)
    result.update_from_flattened_dict(
        {"data.root": str(root), "data.image_key": image_key, "train.steps": 30}
    )
    return result


def written(folder: pathlib.Path) -> pathlib.Path:
    """A TFRecord shard like Bridge's: 7-d states and actions, 10 steps, 5 Hz."""
    rng = np.random.default_rng(0)
    episodes = []
    for number in range(12):
        made = tiny._episode(np.random.default_rng(number), 10)
        images = [step["observation"]["image"].getvalue() for step in made["steps"]]
        actions = np.stack([np.resize(step["action"], 7) for step in made["steps"]])
        states = rng.normal(size=(10, 7)).astype(np.float32)
        episodes.append(
            rlds_writer.episode(images, states, actions, [0.0] * 10, "move it", True, {})
        )
    root = folder / "made" / "1.0.0"
    spec = rlds_writer.features((tiny.SIZE, tiny.SIZE, 3), 7, 7, {})
    rlds_writer.write(root, episodes, spec, "bridge-like", {"fps": 5.0})
    shards._to_tfrecord(root)
    return root


def fall(settings, workdir: pathlib.Path) -> float:
    """Loss on 10 fixed (t, noise) pairs after 30 steps, as a share of the loss before."""
    trainer = prepare.trainer(settings, workdir)
    batch = feed.to_devices(trainer.train.batch_at(0), trainer.mesh)

    @jax.jit
    def loss(params, batch, codec, t, seed):
        model = trainer.blueprint.assemble(params)
        times = jnp.full((settings.train.batch_size, 2), t)
        losses = model.loss(encode(codec, batch), jax.random.key(seed), t=times)
        return step.total_loss(losses, {"video": 1.0, "action": 1.0})[0]

    def measure(now):
        params = {**now.params, **now.frozen}
        # Each is waited for: XLA's CPU backend hangs once 32 programs of 8 devices are in flight.
        return sum(float(loss(params, batch, trainer.codec, (i + 0.5) / 10, i)) for i in range(10))

    before = measure(trainer.state)
    for number in range(30):
        data = feed.to_devices(trainer.train.batch_at(number), trainer.mesh)
        trainer.state, metrics = trainer.update(trainer.state, data, trainer.codec)
        jax.block_until_ready(metrics)
    return measure(trainer.state) / before


def test_the_loss_falls_on_the_real_shard(shared, tmp_path):
    assert fall(config(shared / "data/bridge_dataset/1.0.0"), tmp_path) < 0.9


@pytest.mark.slow
def test_the_loss_falls_on_a_shard_written_here(tmp_path):
    settings = config(written(tmp_path), "observation/image")
    assert fall(settings, tmp_path / "run") < 0.9


@pytest.mark.slow
def test_the_command_trains_without_tensorflow(shared, tmp_path):
    line = [sys.executable, "-X", "importtime", "-m", "vidact.train"]
    line += ["--config", str(tiny.ROOT / "configs/bridge.py"), f"--workdir={tmp_path}"]
    line += [f"--config.data.root={shared / 'data/bridge_dataset/1.0.0'}"]
    line += [f"--config.{key}={value}" for key, value in {**SMALL, "train.steps": 3}.items()]
    done = subprocess.run(line, cwd=tiny.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    imported = [row.split("|")[-1].strip() for row in done.stderr.splitlines() if "|" in row]
    assert "jax" in imported
    assert "tensorflow" not in imported
    assert (tmp_path / "checkpoints" / "3").is_dir()
