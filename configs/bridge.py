"""BridgeData V2 in RLDS form, as TFRecords or ArrayRecords, one camera by default.

Long recordings give full windows of 9 frames; episodes shorter than that are padded, and padded
frames carry no loss. Frames of any size are resized to `data.resolution`, or each
to its tile of it where `data.further_image_keys` and `data.tiles` add observation/image_1 and more.
"""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
    """7-d end-effector actions and states, 5 Hz."""
    config = base.get_config()
    config.data.image_key = "observation/image_0"
    config.data.fps = 5.0
    config.model.action_dim = 7
    config.model.state_dim = 7
    config.evaluate.tasks = ()
    return config
