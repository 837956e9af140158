"""The paper's ablations and their baselines, one name each, on LIBERO-90's setting.

    python -m vidact.train --config configs/ablations.py:cross_attention --workdir=RUN ...

All share data, encoders, trainer and schedule; a name changes what its row says. They start from
random weights at the size `base` unless --config.init_from gives others, so that kinds are
compared with each other and not with what was pretrained.
"""

import ml_collections

from configs import covar, libero90

# Table IV: how the modalities meet. `_matched` has as many parameters as `bridge`.
BRIDGES = {
    "bridge": {},
    "self_attention": {"model.bridge_kind": "self_attention"},
    "self_attention_matched": {
        "model.bridge_kind": "self_attention",
        "model.bridge_matched": True,
    },
    "cross_attention": {"model.bridge_kind": "cross_attention"},
    "no_bridge": {"model.bridge_kind": "none"},
}
DECODERS = {
    "unet": {},
    "mlp": {"model.decoder": "mlp"},
    "resnet": {"model.decoder": "resnet"},
}
BASELINES = {
    # UniPi: the video alone, then the actions that lead through it.
    "two_stage": {
        "model.order": "video_first",
        "model.times": "two_stage",
        "model.mode_share": 0.0,
        "model.visibility": "action_sees_video",
    },
    # PAD, UWM: one transformer over both, of as many blocks and parameters.
    "joint_dit": {
        "model.family": "joint_dit",
        "model.depth": 24,
        "model.video_width": 560,
        "model.video_heads": 8,
    },
    # The video stream only encodes the first frame.
    "no_video": {"model.imagine": False},
}
# Which (t_video, t_action) are trained on, and what the streams may see of each other.
MORE = {
    "shared_time": {"model.times": "shared"},
    "independent_time": {"model.times": "independent"},
    "asymmetric_time": {"model.times": "asymmetric"},
    "sees_first_frame": {"model.visibility": "action_sees_first_frame"},
    "frozen_video": {"train.freeze": ("^refiner/", "video-branch")},
}
RUNS = BRIDGES | DECODERS | BASELINES | MORE
CHOICES = tuple(RUNS)


def get_config(name: str) -> ml_collections.ConfigDict:
    """One run of the ablation."""
    config = libero90.get_config()
    small = covar.get_config("base").model
    for key in small:
        if key.endswith(("width", "heads", "depth", "channels")):
            config.model[key] = small[key]
    config.optimizer.scales = ()
    config.update_from_flattened_dict(RUNS[name])
    return config
