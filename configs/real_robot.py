"""The paper's real robot: 180 x 320 pixels, 35 frames, seven joint or end-effector dimensions."""

import ml_collections

from configs import covar


def get_config() -> ml_collections.ConfigDict:
    """As configs/covar_1b4.py, for a few hundred demonstrations."""
    config = covar.get_config("1b4")
    config.train.steps = 10_000
    return config
