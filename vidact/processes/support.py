"""Where each sampler of `joint_time` puts its pairs of times: what may be sampled and measured.

A network's velocities mean something at the pairs (t_video, t_action) that it was trained on, so
that sampling has to stay on these, and a held-out loss to be taken there.
"""

from vidact.processes.joint_time import MODES

TIED = ("shared", "asymmetric")
"""Samplers whose joint path is t_video = t_action: neither time may be shifted alone."""
# Modes whose pairs a sampler draws by itself, without `joint_time.draw`'s mode_share.
_MODES = {
    "shared": ("joint",),
    "asymmetric": ("joint", "policy", "forward"),
    "two_stage": ("joint", "policy", "video", "inverse"),
}


def modes(sampler: str, mode_share: float) -> tuple[str, ...]:
    """The modes whose pairs a model was trained on.

    Args:
      sampler: one of `joint_time.SAMPLERS`.
      mode_share: of `joint_time.draw`; above 0 it trains the edges of all modes.
    """
    return MODES if mode_share else _MODES.get(sampler, MODES)


def allows(sampler: str, steps: int, action_steps: int) -> bool:
    """Whether the joint path of so many steps for the video and for the actions was trained on.

    The modality with fewer steps waits at its larger time (`joint_time.schedule`): shared times ask
    for equally many steps, and asymmetric ones for no fewer of the actions'.
    """
    if sampler == "shared":
        return steps == action_steps
    return sampler != "asymmetric" or action_steps >= steps


def probes(sampler: str, t: float) -> dict[str, tuple[float, float]]:
    """By modality the pair at which its loss at its own time `t` in [0, 1] is measured."""
    if sampler == "two_stage":
        return {"video": (t, 1.0), "action": (0.0, t)}
    return {"video": (t, t), "action": (t, t)}
