"""Whether a run acts as the simulator's robot does, asked before anything is simulated."""

import math

from vidact.errors import UserError
from vidact.simulators.tasks import ACTIONS, CONTROL_HZ, IMAGE_PIXELS, STATES
from vidact.training.runs import Run

ACTING = ("joint", "policy")
"""Modes that generate actions from what a robot sees; inverse dynamics sees the future too."""
RATES_AGREE = 1e-3
"""Relative: recorders round the time of a step."""


def check(run: Run) -> None:
    """Refuses a run whose successes and failures in the simulator would mean nothing.

    Raises:
      UserError: the mode does not act, a chunk is too short, or the run's camera, actions, states
        or rate are not the simulator's.
    """
    _check_settings(run)
    _check_frames(run)
    _check_numbers(run)


def _check_settings(run: Run) -> None:
    config, horizon = run.config.evaluate, run.config.data.frames - 1
    if config.mode not in ACTING:
        raise UserError(
            f"config.evaluate.mode={config.mode!r}: does not act from what a robot sees; choose "
            f"{' or '.join(ACTING)}"
        )
    if config.execute > horizon:
        raise UserError(
            f"config.evaluate.execute={config.execute}: this run's chunks hold {horizon} actions; "
            f"choose 1 to {horizon}"
        )


def _check_frames(run: Run) -> None:
    data, seen = run.config.data, (IMAGE_PIXELS, IMAGE_PIXELS)
    if tuple(data.tiles) != (1, 1):
        raise UserError(
            f"config.data.tiles={tuple(data.tiles)}: this run's frames are tiled, the simulator "
            "has one camera; add --config.evaluate.tasks='()' or train with one camera"
        )
    if tuple(data.resolution) != seen:
        raise UserError(
            f"config.data.resolution={tuple(data.resolution)}: the simulator's camera has {seen}; "
            "add --config.evaluate.tasks='()' or train at that resolution"
        )


def _check_numbers(run: Run) -> None:
    culprit = f"config.evaluate.tasks={tuple(run.config.evaluate.tasks)}"
    for kind, wanted in (("action", ACTIONS), ("state", STATES)):
        found = len(run.own[kind].mean)
        if found != wanted:
            raise UserError(
                f"{culprit}: this run's {kind}s have {found} dimensions, Meta-World's {wanted}; "
                "add --config.evaluate.tasks='()'"
            )
    if not math.isclose(run.fps, CONTROL_HZ, rel_tol=RATES_AGREE):
        raise UserError(
            f"{culprit}: this run takes {run.fps:g} actions a second, Meta-World takes "
            f"{CONTROL_HZ:g}; add --config.evaluate.tasks='()'"
        )
