"""A run as a policy: from what the robot sees to a chunk of actions in its own units."""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Array, Float, UInt8

from vidact.actions import denormalise, normalise
from vidact.encoders.encode import observation
from vidact.errors import UserError
from vidact.evaluation import sampling
from vidact.training.runs import Run

BATCH = 16
"""Rows of one call of the model: one compiled function, and few wasted rows at the end."""


class Policy:
    """Sees an image, the proprioception and an instruction; nothing else.

    Args:
      run: a trained model.
      steps: Euler steps, at least 1.
      batch: rows of one call of the model.
    """

    def __init__(self, run: Run, steps: int, batch: int = BATCH):
        self._run = run
        self._request = sampling.request(run.config, run.config.evaluate.mode, steps)
        self._batch = batch
        self._fps = np.full(batch, run.fps, np.float32)

    def act(
        self,
        images: UInt8[np.ndarray, "N H W 3"],
        states: Float[np.ndarray, "N S"],
        instructions: Sequence[str],
        key: Array,
    ) -> Float[np.ndarray, "N Ta A"]:
        """Actions in the units of the data set, not clipped.

        Args:
          images: as large as the training's, and tiled likewise.
          states: in the units of the data set.
          instructions: N texts.
          key: draws the noise; the same key and rows give the same actions.

        Raises:
          UserError: the images have another size than the training's.
        """
        data = self._run.config.data
        if images.shape[1:3] != tuple(data.resolution):
            raise UserError(
                f"config.data.resolution={tuple(data.resolution)}: the policy is given images of "
                f"{images.shape[1:3]}; train at that resolution"
            )
        states = normalise(states, self._run.own["state"], data.normalisation)
        further = self._run.config.model.state_dim - states.shape[1]  # of other data sets
        states = np.pad(states, ((0, 0), (0, further)))
        if not data.instruction_key:  # trained without text
            instructions = [""] * len(images)
        text, mask = self._run.read_text(instructions)
        chunks = []
        for number, at in enumerate(batches(len(images), self._batch)):
            seen = observation(
                self._run.codec, images[at], states[at], text[at], mask[at], self._fps
            )
            mine = jax.random.fold_in(key, number)
            chunk = sampling.sample(self._run, seen, self._request, mine)
            chunks.append(np.asarray(chunk.actions))
        own = self._run.own["action"]
        actions = np.concatenate(chunks)[: len(images), :, : len(own.mean)]
        return denormalise(actions, own, data.normalisation)


def batches(count: int, size: int) -> np.ndarray:
    """Row numbers 0 .. count - 1 in batches of equal size, int64 [k, size]; the last one wraps."""
    full = -(-count // size) * size
    return np.resize(np.arange(count), full).reshape(-1, size)
