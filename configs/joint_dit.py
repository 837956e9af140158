"""The quickstart's experiment with one joint DiT in place of CoVAR's two streams and bridge.

As many blocks in a row as CoVAR has (a spatial and a temporal one for each of its layers) and as
many parameters: 4,009,676 against 4,011,220, as `python -m vidact.train --config FILE --describe`
counts them for this file and for configs/quickstart.py. Each of them works on every token here, so
that a training step takes 0.036 TFLOP against 0.020.
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
    """Six blocks of width 184; actions are decoded token by token."""
    config = base.get_config()
    config.model.family = "joint_dit"
    config.model.depth = config.model.unroll = 6
    config.model.video_width = 184
    config.model.video_heads = 4
    config.model.decoder = "mlp"
    config.model.decoder_channels = (184,)
    return config
