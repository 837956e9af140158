"""A run as a policy: from what the robot sees to a chunk of actions in its own units."""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Array, Float, UInt8

from vidact.actions import normalise
from vidact.encoders.encode import observation
from vidact.errors import UserError
from vidact.evaluation import sampling
from vidact.text import tokenize
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
        self._request = sampling.request(run, "policy", steps)
        self._batch = batch

    def act(
        self,
        images: UInt8[np.ndarray, "N H W 3"],
        states: Float[np.ndarray, "N S"],
        instructions: Sequence[str],
        key: Array,
    ) -> Float[np.ndarray, "N Ta A"]:
        """Actions in the units of the data set, not clipped.

        Args:
          images: as large as the training's.
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
        states = normalise(states, self._run.statistics["state"], data.normalisation)
        if not data.instruction_key:  # trained without text
            instructions = [""] * len(images)
        text, mask = tokenize(instructions, data.max_words, data.vocabulary)
        rows = (images, states, text, mask)
        chunks = [
            self._call([array[at] for array in rows], jax.random.fold_in(key, number))
            for number, at in enumerate(batches(len(images), self._batch))
        ]
        return sampling.in_robot_units(self._run, np.concatenate(chunks)[: len(images)])

    def _call(self, rows: list[np.ndarray], key: Array) -> np.ndarray:
        fps = np.full(self._batch, self._run.config.data.fps, np.float32)
        seen = observation(self._run.codec, *rows, fps)
        return np.asarray(sampling.sample(self._run, seen, self._request, key).actions)


def batches(count: int, size: int) -> np.ndarray:
    """Row numbers 0 .. count - 1 in batches of equal size, int64 [k, size]; the last one wraps."""
    full = -(-count // size) * size
    return np.resize(np.arange(count), full).reshape(-1, size)
