"""The paper's CALVIN: the static camera at 200 x 200, 35 frames at 30 Hz.

Feature names are CALVIN's own, as its RLDS conversions keep them; change config.data.*_key to those
of yours. The VAE pads 200 to 208: 26 x 26 latents, 169 tokens a frame.
"""

import ml_collections

from configs import covar


def get_config() -> ml_collections.ConfigDict:
    """7-d relative end-effector actions, the 15-d proprioception `robot_obs`."""
    config = covar.get_config("1b4")
    config.data.update(
        resolution=(200, 200),
        fps=30.0,
        image_key="observation/rgb_static",
        state_key="observation/robot_obs",
        action_key="action/rel_actions",
    )
    config.model.state_dim = 15
    return config
