"""The experiment of launch/quickstart.sh: three Meta-World tasks from wide starts, on two cores."""

import ml_collections

from configs import base


def get_config() -> ml_collections.ConfigDict:
    """The defaults are already this experiment's sizes."""
    return base.get_config()
