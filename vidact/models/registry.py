"""From `config.model` to a model: one row per family."""

from collections.abc import Callable

import ml_collections
from flax import nnx

from vidact.errors import UserError
from vidact.models.covar import config as covar_config
from vidact.models.covar.model import CoVAR


def maker(config: ml_collections.ConfigDict) -> Callable[[], nnx.Module]:
    """A function that builds the model; run it under jit or eval_shape.

    Raises:
      UserError: the family is unknown.
    """
    if config.model.family != "covar":
        raise UserError(f"config.model.family={config.model.family!r}: choose covar")
    sizes = covar_config.from_config(config.model)
    return lambda: CoVAR(sizes, rngs=nnx.Rngs(params=config.seed))
