"""From `config.model` to a model: one row per family."""

from collections.abc import Callable

import ml_collections
from flax import nnx

from vidact.errors import UserError
from vidact.models.baselines.joint_dit import JointDiT
from vidact.models.covar import config as covar_config
from vidact.models.covar.model import CoVAR

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


def maker(config: ml_collections.ConfigDict) -> Callable[[], nnx.Module]:
    """A function that builds the model; run it under jit or eval_shape.

    Raises:
      UserError: the family is unknown.
    """
    kind, sizes = family(config), covar_config.from_config(config.model)
    return lambda: kind(sizes, rngs=nnx.Rngs(params=config.seed))
