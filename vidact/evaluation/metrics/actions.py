"""Errors of action chunks in the robot's units, beside two baselines that do not look."""

import numpy as np
from jaxtyping import Bool, Float


def mean_absolute_error(
    actions: Float[np.ndarray, "B Ta A"],
    truth: Float[np.ndarray, "B Ta A"],
    mask: Bool[np.ndarray, "B Ta A"],
) -> float:
    """Mean of |action - truth| over all labelled elements, in the units of the data set.

    Returns:
      NaN if nothing is labelled.
    """
    error = np.abs(actions.astype(np.float64) - truth)[mask]
    return float(error.mean()) if error.size else float("nan")


def action_errors(
    actions: Float[np.ndarray, "B Ta A"],
    truth: Float[np.ndarray, "B Ta A"],
    mask: Bool[np.ndarray, "B Ta A"],
    mean_action: Float[np.ndarray, " A"],
) -> dict[str, float]:
    """The model's error and that of the two baselines, in the units of the data set.

    Args:
      actions: the model's, denormalised.
      truth: the recorded ones, denormalised.
      mask: False = padding or no label.
      mean_action: of the training episodes.

    Returns:
      `model`; `hold_still`, the error of the zero action, which stands still where actions are
      displacements or velocities (Meta-World's and Bridge's are); `mean_action`.
    """
    still = np.zeros_like(truth)
    mean = np.broadcast_to(mean_action, truth.shape)
    return {
        "model": mean_absolute_error(actions, truth, mask),
        "hold_still": mean_absolute_error(still, truth, mask),
        "mean_action": mean_absolute_error(mean, truth, mask),
    }
