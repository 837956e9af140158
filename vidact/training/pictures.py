"""Pictures of what a run trains on and of what it generates so far."""

import pathlib
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Int

from data_pipelines.loading import WindowDataset
from vidact.batch import Batch
from vidact.encoders.encode import encode
from vidact.encoders.video.linear import to_uint8
from vidact.inputs import observe
from vidact.nn.placement import ways
from vidact.training import drawing, feed, prepare, program, sharding
from vidact.training.state import TrainState, inference_parameters

FOLDER = "pictures"
SHOWN = 4
"""Windows of a picture."""
WITHOUT = " (stored latents: no video to show)"


def first_batch(
    workdir: pathlib.Path, dataset: WindowDataset, batch: Batch, windows: Int[np.ndarray, " b"]
) -> pathlib.Path:
    """Draws the first windows of a batch as the model gets them; returns the file.

    Args:
      workdir: of the run.
      dataset: where the batch comes from.
      batch: with augmentation, normalised.
      windows: which windows it holds.
    """
    rows = []
    for i in range(min(SHOWN, len(windows))):
        videos = [] if batch.video is None else [batch.video[i]]
        title = _title(dataset, int(windows[i])) + ("" if videos else WITHOUT)
        rows.append(drawing.Row(title, videos, [batch.actions[i]], batch.action_mask[i]))
    path = workdir / FOLDER / "first_batch.png"
    drawing.draw(path, rows)
    return path


class Sampler:
    """Draws the same held-out windows beside what the averaged weights make of them."""

    def __init__(self, trainer: prepare.Trainer):
        """Args: trainer: with held-out windows."""
        assert trainer.held_out is not None
        self._trainer, self._dataset = trainer, trainer.held_out
        self._batch = _few(trainer, self._dataset)
        # On CPU, LLVM's first level runs as fast and compiles in half the time.
        cpu = jax.default_backend() == "cpu"
        self._sample = jax.jit(
            sharding.traced_for(trainer.mesh, self._generate),
            out_shardings=jax.NamedSharding(trainer.mesh, jax.P()),
            compiler_options={"xla_backend_optimization_level": 1} if cpu else None,
        )

    def draw(self, step: int) -> pathlib.Path:
        """Samples with the state after `step`; returns the file, which the first process writes."""
        trainer = self._trainer
        found = jax.device_get(self._sample(trainer.state, self._batch, trainer.codec))
        path, rows = trainer.workdir / FOLDER / f"{step}.png", []
        if jax.process_index() > 0:
            return path
        for i in range(len(found["window"])):
            videos = [found[name][i] for name in ("video", "generated") if name in found]
            title = _title(self._dataset, int(found["window"][i])) + ("" if videos else WITHOUT)
            actions = [found["actions"][i], found["generated actions"][i]]
            rows.append(drawing.Row(title, videos, actions, found["action_mask"][i]))
        drawing.draw(path, rows)
        return path

    def _generate(self, state: TrainState, batch: dict[str, Array], codec: Any) -> dict[str, Array]:
        config = self._trainer.config
        inputs = encode(codec, batch)
        model = self._trainer.blueprint.assemble(inference_parameters(state))
        mode = "joint" if config.model.imagine else "policy"
        sizes = inputs.latents.shape[1], inputs.actions.shape[1]
        request = program.request(config, mode, config.evaluate.sample_steps, *sizes)
        chunk = model.sample(observe(inputs), jax.random.key(config.seed), request)
        found = {name: batch[name] for name in ("window", "actions", "action_mask")}
        found["generated actions"] = chunk.actions
        if codec is not None:
            found["video"] = batch["video"]
            if config.model.imagine:
                found["generated"] = to_uint8(codec.decode(chunk.latents))
        return {name: value[:SHOWN] for name, value in found.items()}


def _few(trainer: prepare.Trainer, dataset: WindowDataset) -> dict[str, Any]:
    """The first held-out windows, no more than the mesh asks for, and which they are."""
    rows = ways(trainer.mesh, sharding.ROWS)
    share = -(-SHOWN // rows) * rows // jax.process_count()
    batch, windows = dataset.batch_at(0), dataset.indices_at(0)
    few: dict[str, Any] = {name: value[:share] for name, value in batch.as_dict().items()}
    given = feed.to_devices(Batch(**{"video": None, **few}), trainer.mesh)
    rows_of = jax.NamedSharding(trainer.mesh, sharding.BATCH)
    numbers = windows[: len(few["actions"])].astype(np.int32)
    return {**given, "window": jax.make_array_from_process_local_data(rows_of, numbers)}


def _title(dataset: WindowDataset, index: int) -> str:
    window = dataset.windows.at(np.array([index]))
    number, start = int(window.episodes[0]), int(window.starts[0])
    instruction = dataset.source.episode(number).instructions[start]
    return f"episode {number} from step {start}: {instruction}"
