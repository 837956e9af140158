"""Named mixtures of data sets with the weights that their authors published.

A weight multiplies a data set's number of steps (octo's and OpenVLA's `balance_weights`), unless
the mixture says that weights are shares of the samples. Sources: octo
(octo/data/oxe/oxe_dataset_mixes.py at 241fb35), OpenVLA (mixtures.py in
prismatic/vla/datasets/rlds/oxe/ at c8f03f4), SpatialVLA (data/oxe/mixtures.py at e480753) and
VideoVLA (sgm/data_util.py at d92a2c6). Where octo and OpenVLA both publish a name it is OpenVLA's
here, and octo's has the prefix octo_.
"""

import dataclasses
import difflib
from collections.abc import Mapping

from vidact.errors import UserError


@dataclasses.dataclass(frozen=True)
class Mixture:
    """One mixture.

    Attributes:
      source: who published it.
      weights: data set -> weight, greater than 0, in the published order as far as it matters.
      shares: whether weights are shares of the samples rather than factors of numbers of steps.
      note: what to know of it.
    """

    source: str
    weights: Mapping[str, float]
    shares: bool = False
    note: str = ""


def _octo(weights: Mapping[str, float]) -> dict[str, float]:
    """Under octo's name for BridgeData V2."""
    return {n.replace("bridge_orig", "bridge_dataset"): w for n, w in weights.items()}


RTX = {
    "fractal20220817_data": 0.54087122203,
    "kuka": 0.8341046294,
    "bridge_orig": 1.0,
    "taco_play": 2.0,
    "jaco_play": 2.0,
    "berkeley_cable_routing": 3.0,
    "roboturk": 1.0,
    "viola": 2.0,
    "berkeley_autolab_ur5": 1.0,
    "toto": 1.0,
}
# The lists name taco_play, cable routing, viola and toto (1.0 each) again; both loaders skip what
# comes twice.
FRANKA = {
    "stanford_hydra_dataset_converted_externally_to_rlds": 1.0,
    "austin_buds_dataset_converted_externally_to_rlds": 3.0,
    "nyu_franka_play_dataset_converted_externally_to_rlds": 3.0,
    "maniskill_dataset_converted_externally_to_rlds": 0.1,
    "furniture_bench_dataset_converted_externally_to_rlds": 0.1,
    "cmu_franka_exploration_dataset_converted_externally_to_rlds": 5.0,
    "austin_sailor_dataset_converted_externally_to_rlds": 1.0,
    "austin_sirius_dataset_converted_externally_to_rlds": 1.0,
    "berkeley_rpt_converted_externally_to_rlds": 1.0,
    "kaist_nonprehensile_converted_externally_to_rlds": 3.0,
    "stanford_robocook_converted_externally_to_rlds": 1.0,
    "iamlab_cmu_pickup_insert_converted_externally_to_rlds": 1.0,
    "utaustin_mutex": 1.0,
    "cmu_play_fusion": 1.0,
}
MAGIC_SOUP = {
    "fractal20220817_data": 0.54087122203,
    "kuka": 0.8341046294,
    "bridge_orig": 1.0,
    "taco_play": 2.0,
    "jaco_play": 1.0,
    "berkeley_cable_routing": 1.0,
    "roboturk": 2.0,
    "viola": 2.0,
    "berkeley_autolab_ur5": 2.0,
    "toto": 1.0,
    "language_table": 0.1,
    "stanford_hydra_dataset_converted_externally_to_rlds": 2.0,
    "austin_buds_dataset_converted_externally_to_rlds": 1.0,
    "nyu_franka_play_dataset_converted_externally_to_rlds": 3.0,
    "furniture_bench_dataset_converted_externally_to_rlds": 0.1,
    "ucsd_kitchen_dataset_converted_externally_to_rlds": 2.0,
    "austin_sailor_dataset_converted_externally_to_rlds": 1.0,
    "austin_sirius_dataset_converted_externally_to_rlds": 1.0,
    "dlr_edan_shared_control_converted_externally_to_rlds": 1.0,
    "iamlab_cmu_pickup_insert_converted_externally_to_rlds": 1.0,
    "utaustin_mutex": 1.0,
    "berkeley_fanuc_manipulation": 2.0,
    "cmu_stretch": 1.0,
}
MAGIC_SOUP_PLUS = MAGIC_SOUP | {"bc_z": 0.2, "fmb_dataset": 1.0, "dobbe": 0.2, "droid": 0.06}
OCTO_MAGIC_SOUP = _octo(MAGIC_SOUP) | {
    "nyu_door_opening_surprising_effectiveness": 1.0,
    "bc_z": 0.2,
}
SPATIAL_VLA_PLUS = MAGIC_SOUP_PLUS | {
    "kuka": 0.4,
    "toto": 0.5,
    "berkeley_fanuc_manipulation": 0.5,
    "fmb_dataset": 0.2,
    "rh20t_rlds": 0.015,
}
VIDEO_VLA_SHARES = {
    "fractal20220817_data": 0.1471,
    "kuka": 0.0706,
    "bridge_orig": 0.1534,
    "taco_play": 0.0342,
    "jaco_play": 0.0056,
    "berkeley_cable_routing": 0.003,
    "roboturk": 0.0269,
    "viola": 0.011,
    "berkeley_autolab_ur5": 0.0141,
    "toto": 0.0117,
    "stanford_hydra_dataset_converted_externally_to_rlds": 0.0515,
    "austin_buds_dataset_converted_externally_to_rlds": 0.0025,
    "nyu_franka_play_dataset_converted_externally_to_rlds": 0.0097,
    "furniture_bench_dataset_converted_externally_to_rlds": 0.0284,
    "ucsd_kitchen_dataset_converted_externally_to_rlds": 0.0006,
    "austin_sailor_dataset_converted_externally_to_rlds": 0.0254,
    "austin_sirius_dataset_converted_externally_to_rlds": 0.0201,
    "dlr_edan_shared_control_converted_externally_to_rlds": 0.0006,
    "iamlab_cmu_pickup_insert_converted_externally_to_rlds": 0.0105,
    "utaustin_mutex": 0.026,
    "berkeley_fanuc_manipulation": 0.0022,
    "cmu_stretch": 0.0018,
    "bc_z": 0.0864,
    "fmb_dataset": 0.0163,
    "dobbe": 0.0164,
}


def _without(weights: Mapping[str, float], *names: str) -> dict[str, float]:
    return {name: weight for name, weight in weights.items() if name not in names}


MIXTURES = {
    "bridge": Mixture("OpenVLA", {"bridge_orig": 1.0}),
    "octo_bridge": Mixture("octo", {"bridge_dataset": 1.0}),
    "rtx": Mixture("OpenVLA", RTX),
    "octo_rtx": Mixture("octo", _octo(RTX) | {"nyu_door_opening_surprising_effectiveness": 5.0}),
    "rtx_franka": Mixture("OpenVLA", RTX | FRANKA),
    "octo_rtx_franka": Mixture(
        "octo", _octo(RTX) | {"nyu_door_opening_surprising_effectiveness": 5.0} | FRANKA
    ),
    "oxe_magic_soup": Mixture("OpenVLA", MAGIC_SOUP),
    "octo_oxe_magic_soup": Mixture("octo", OCTO_MAGIC_SOUP),
    "oxe_magic_soup_plus": Mixture("OpenVLA", MAGIC_SOUP_PLUS),
    "oxe_magic_soup_plus_minus": Mixture(
        "OpenVLA",
        _without(MAGIC_SOUP_PLUS, "language_table", "droid") | {"fractal20220817_data": 1.0},
        note="CogACT's, and by its count of frames VideoVLA's",
    ),
    "oxe_flex_act_soup": Mixture(
        "octo",
        OCTO_MAGIC_SOUP
        | {
            "berkeley_mvp_converted_externally_to_rlds": 1.0,
            "gnm_dataset": 1.0,
            "aloha_static_dataset": 3.0,
            "aloha_mobile_dataset": 2.0,
            "dobbe": 1.0,
            "roboset": 0.5,
            "rh20t": 0.5,
        },
        note="arms, joints, two arms and a base: actions of 7, 8 and 14 columns",
    ),
    "bridge_rt_bcz": Mixture(
        "VideoVLA", {"bridge_orig": 1.0, "fractal20220817_data": 1.0, "bc_z": 1.0}
    ),
    "oxe_spatial_vla_plus": Mixture("SpatialVLA", SPATIAL_VLA_PLUS),
    "videovla_oxe_spatial_vla_plus": Mixture(
        "VideoVLA",
        VIDEO_VLA_SHARES,
        shares=True,
        note="published as oxe_spatial_vla_plus, which it is but for language_table, droid and "
        "rh20t_rlds, with each weight times the number of steps over their sum; that these are "
        "shares is our reading",
    ),
}


def find(name: str) -> Mixture:
    """A mixture by its name.

    Raises:
      UserError: no such mixture; names similar ones.
    """
    if name in MIXTURES:
        return MIXTURES[name]
    near = difflib.get_close_matches(name, MIXTURES, n=3, cutoff=0.4)
    hint = f"did you mean {', '.join(near)}" if near else f"one of {', '.join(MIXTURES)}"
    raise UserError(f"{name}: no such mixture of Open X-Embodiment; {hint}")
