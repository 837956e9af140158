"""Six Meta-World tasks from wide starts, trained for an hour or two on two cores, or on a GPU."""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
    """A wider and longer version of the quickstart."""
    config = base.get_config()
    config.model.video_width = config.model.action_width = config.model.bridge_width = 192
    config.model.video_heads = config.model.action_heads = config.model.bridge_heads = 6
    config.model.decoder_channels = (96, 192)
    config.optimizer.learning_rate = 7e-4
    config.train.steps = 12000
    config.train.checkpoint_every = 1000
    config.evaluate.tasks = config.demos.tasks = (
        "drawer-open",
        "window-open",
        "button-press",
        "push",
        "pick-place",
        "door-open",
    )
    return config
