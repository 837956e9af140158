"""From `config.model` to a model: one row per family."""

import dataclasses
from collections.abc import Callable

import ml_collections
from flax import nnx

from vidact.errors import UserError
from vidact.models import clips
from vidact.models.baselines.joint_dit import JointDiT
from vidact.models.covar import config as covar_config
from vidact.models.covar.model import CoVAR
from vidact.processes import support

FAMILIES: dict[str, Callable[..., nnx.Module]] = {"covar": CoVAR, "joint_dit": JointDiT}


def family(config: ml_collections.ConfigDict) -> Callable[..., nnx.Module]:
    """The class of `config.model.family`.

    Raises:
      UserError: the family is unknown.
    """
    name = config.model.family
    if name not in FAMILIES:
        raise UserError(f"config.model.family={name!r}: choose one of {', '.join(FAMILIES)}")
    return FAMILIES[name]


def sizes(config: ml_collections.ConfigDict) -> covar_config.CoVARConfig:
    """What a model is made of: `config.model`, its time shift that of the clips where it says so.

    Raises:
      UserError: a key is missing or unknown, or the clips have no shift.
    """
    found = covar_config.from_config(config.model)
    if found.time_shift or found.times in support.TIED:
        return found
    return dataclasses.replace(found, time_shift=clips.shifts(config))


def maker(config: ml_collections.ConfigDict) -> Callable[[], nnx.Module]:
    """A function that builds the model; run it under jit or eval_shape.

    Raises:
      UserError: the family is unknown, or see `sizes`.
    """
    kind, known = family(config), sizes(config)
    return lambda: kind(known, rngs=nnx.Rngs(params=config.seed))
