"""CoVAR pretrained on a published mixture of Open X-Embodiment, one name each.

    python -m vidact.train --config configs/oxe.py:oxe_magic_soup --config.data.root=DIR \
        --config.data.encoded=LATENTS --config.init_from=WEIGHTS --workdir=RUN

DIR holds the data sets by their names in TensorFlow Datasets (DIR/kuka/0.1.0 and so on),
as downloaded or converted. Mixtures of end-effector actions of 7 columns are listed; joints
and two arms ask for a wider `model.action_dim`. The paper does not pretrain on these: the settings
are ours.
"""

import ml_collections

from configs import covar

CHOICES = (
    "bridge",
    "rtx",
    "rtx_franka",
    "oxe_magic_soup",
    "oxe_magic_soup_plus",
    "oxe_magic_soup_plus_minus",
    "bridge_rt_bcz",
    "oxe_spatial_vla_plus",
)


def get_config(mixture: str) -> ml_collections.ConfigDict:
    """The 1.4 B model on one mixture, each data set at its own rate."""
    config = covar.get_config("1b4")
    config.data.update(
        mixture=mixture,
        resolution=(192, 256),  # most cameras are 4:3
        fit="crop",
        fps=0.0,
        held_out=0.002,
        on_bad_record="skip",
        cache_mb=0,
    )
    config.model.state_dim = 8
    config.train.update(steps=100_000, batch_size=256)
    return config
