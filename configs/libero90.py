"""The paper's LIBERO-90: 128 x 128 pixels, 35 frames; actions are refined afterwards.

    python -m vidact.train --config configs/libero90.py --workdir=RUN ...
    python -m vidact.sample --checkpoint RUN --write-coarse --count 450
    python -m vidact.train --config configs/libero90_refine.py --config.init_from=RUN ...

Feature names are those of the RLDS conversions that OpenVLA published.
"""

import ml_collections

from configs import covar


def get_config() -> ml_collections.ConfigDict:
    """7-d end-effector actions, 8-d proprioception, 20 Hz."""
    config = covar.get_config("1b4")
    config.data.update(resolution=(128, 128), fps=20.0, state_key="observation/state")
    config.model.state_dim = 8
    return config
