"""From an episode's raw features to what all data sets have in common."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from data_pipelines.oxe import oddities
from data_pipelines.oxe.columns import Features, gather
from data_pipelines.oxe.row import Row
from vidact.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Standard:
    """An episode of n >= 0 steps.

    Attributes:
      action: translation, roll, pitch, yaw and gripper with 1 = open, in the data set's units; for
        joints as the row says.
      state: the row's 8 columns (14 for two arms).
      instructions: one a step.
      steps: which of the raw steps these are; the frames to keep.
    """

    action: Float[np.ndarray, "n A"]
    state: Float[np.ndarray, "n S"]
    instructions: Sequence[str]
    steps: Int[np.ndarray, " n"]


def standardise(row: Row, features: Features, blank_uninformative: bool = False) -> Standard:
    """Applies a row to one episode.

    Args:
      row: the data set's.
      features: path -> array with the steps as first axis; at least row.arrays and row.text.
      blank_uninformative: whether instructions that say nothing become "", as octo has it. OpenVLA
        keeps them.

    Raises:
      UserError: a feature is missing or of another shape, or an action is not finite.
    """
    try:
        return _standardise(row, features, blank_uninformative)
    except UserError as error:
        raise UserError(f"{row.name}: {error}") from error


def _standardise(row: Row, features: Features, blank_uninformative: bool) -> Standard:
    if row.text not in features:
        raise UserError(f"no {row.text} among {', '.join(sorted(features))}; read it too")
    first = slice(row.drop_first, None)
    stored = len(features[row.text])
    steps = np.arange(stored)[first]
    used = {path: _numbers(row, path, features) for path in row.arrays if path in features}
    texts = _texts(row, features[row.text])[first]
    if blank_uninformative and row.uninformative:
        texts = [""] * len(texts)
    kept = np.arange(len(steps))[:: row.every]
    kept = kept[: max(len(kept) - row.drop_last, 0)]
    action = _action(row, used, stored)[kept]
    _check_finite(action, steps[kept])
    return Standard(
        action=action,
        state=gather(row.state.columns, used, stored)[first][kept],
        instructions=[texts[index] for index in kept],
        steps=steps[kept],
    )


def _numbers(row: Row, path: str, features: Features) -> np.ndarray:
    values = features[path]
    if values.dtype.kind in "biuf":
        return values
    if path not in row.compressed:
        raise UserError(f"{path} holds no numbers; mend the row or the data")
    try:
        return oddities.inflate(values)
    except ValueError as error:
        raise UserError(f"{path}: {error}; mend or remove the episode") from error


def _texts(row: Row, stored: np.ndarray) -> list[str]:
    try:
        return row.decode(stored)
    except ValueError as error:
        raise UserError(f"{row.text}: {error}; mend or remove the episode") from error


def _action(row: Row, used: Features, steps: int) -> Float[np.ndarray, "n A"]:
    """Fixes see all steps from the first kept one on: some look ahead beyond those left out."""
    first = slice(row.drop_first, None)
    parts = [gather(row.motion.columns, used, steps)[first]]
    if row.motion.fix:
        parts[0] = row.motion.fix(parts[0])
    if row.gripper:
        gripper = gather(row.gripper.columns, used, steps)[first]
        for fix in row.gripper.fixes:
            gripper = fix(gripper)
        parts.append(gripper)
    return np.concatenate(parts, axis=1)


def _check_finite(action: Float[np.ndarray, "n A"], steps: Int[np.ndarray, " n"]) -> None:
    bad = np.argwhere(~np.isfinite(action))
    if len(bad):
        step, dimension = bad[0]
        raise UserError(
            f"action at step {steps[step]}, dimension {dimension} is {action[step, dimension]}; "
            "mend or remove the episode"
        )
