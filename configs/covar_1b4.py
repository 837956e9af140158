"""CoVAR at the paper's size: STDiT3-XL/2 beside an action DiT, 1.45 B parameters in all.

    python -m vidact.train --config configs/covar_1b4.py --describe

Trains from stored latents and embeddings (vidact.encode); give Open-Sora 1.2's weights by
--config.init_from.
"""

import ml_collections

from configs import covar


def get_config() -> ml_collections.ConfigDict:
    """The size 1b4 of configs/covar.py."""
    return covar.get_config("1b4")
