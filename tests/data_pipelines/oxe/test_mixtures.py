"""Mixtures name registered data sets, with the weights that were published."""

import pytest

from data_pipelines.oxe.mixtures import MIXTURES, find
from data_pipelines.oxe.registry import ROWS
from tests.data_pipelines.oxe import fakes
from vidact.errors import UserError

IN_THE_TABLE = {
    "octo_rtx": "w_octo_rtx",
    "octo_oxe_magic_soup": "w_octo_magic_soup",
    "oxe_flex_act_soup": "w_octo_flex_act_soup",
    "oxe_magic_soup": "w_openvla_magic_soup",
    "oxe_magic_soup_plus": "w_openvla_magic_soup_plus",
    "oxe_magic_soup_plus_minus": "w_openvla_magic_soup_plus_minus",
    "bridge_rt_bcz": "w_videovla_bridge_rt_bcz",
    "videovla_oxe_spatial_vla_plus": "w_videovla_spatial_vla_plus",
}


@pytest.mark.parametrize("name", MIXTURES)
def test_mixtures_name_registered_sets_with_positive_weights(name):
    weights = find(name).weights
    assert weights and set(weights) <= set(ROWS)
    assert all(weight > 0 for weight in weights.values())


@pytest.mark.parametrize("name", IN_THE_TABLE)
def test_weights_agree_with_the_facts(name, shared):
    column = IN_THE_TABLE[name]
    lines = fakes.facts(shared).items()
    wanted = {data_set: float(line[column]) for data_set, line in lines if line[column]}
    assert find(name).weights == wanted


def test_the_remaining_mixtures_by_hand():
    rtx, franka = find("rtx").weights, find("rtx_franka").weights
    assert len(rtx) == 10 and len(franka) == 24
    assert (rtx["berkeley_cable_routing"], rtx["jaco_play"], rtx["roboturk"]) == (3, 2, 1)
    # Named twice; what comes first counts.
    assert (franka["taco_play"], franka["berkeley_cable_routing"]) == (2, 3)
    assert franka["cmu_franka_exploration_dataset_converted_externally_to_rlds"] == 5
    octo = find("octo_rtx_franka").weights
    assert set(octo) - set(franka) == {
        "bridge_dataset",
        "nyu_door_opening_surprising_effectiveness",
    }
    assert octo["nyu_door_opening_surprising_effectiveness"] == 5
    spatial = find("oxe_spatial_vla_plus").weights
    assert len(spatial) == 28
    assert [spatial[name] for name in ("kuka", "toto", "droid")] == [0.4, 0.5, 0.06]
    assert [spatial[name] for name in ("fmb_dataset", "rh20t_rlds", "bc_z")] == [0.2, 0.015, 0.2]
    assert find("bridge").weights == {"bridge_orig": 1}
    assert find("octo_bridge").weights == {"bridge_dataset": 1}


def test_videovlas_shares_are_spatialvlas_weights_times_steps(shared):
    """All but FMB, of which there are copies of several lengths."""
    facts = fakes.facts(shared)
    shares, weights = (
        find(name).weights for name in ("videovla_oxe_spatial_vla_plus", "oxe_spatial_vla_plus")
    )
    assert set(weights) - set(shares) == {"language_table", "droid", "rh20t_rlds"}
    steps = {name: float(facts[name]["num_transitions"]) for name in shares}
    unit = shares["bridge_orig"] / (weights["bridge_orig"] * steps["bridge_orig"])
    for name in set(shares) - {"fmb_dataset"}:
        assert shares[name] == pytest.approx(weights[name] * steps[name] * unit, rel=0.03, abs=1e-4)


def test_unknown_mixtures_are_refused_with_similar_ones():
    with pytest.raises(UserError, match=r"magic_soup: no such mixture .* mean .*oxe_magic_soup"):
        find("magic_soup")
    with pytest.raises(UserError, match="one of bridge, octo_bridge"):
        find("%")
