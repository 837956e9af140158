"""Published statistics fit the registry's rows, and agree with specs/oxe_facts.csv."""

import json

import numpy as np
import pytest

from data_pipelines.oxe import published
from data_pipelines.oxe.registry import ROWS
from tests.data_pipelines.oxe import fakes
from vidact import actions
from vidact.errors import UserError

NAMES = tuple(name for name in ROWS if published.find(name))
CONSTANT_GRIPPER = {"berkeley_cable_routing", "toto"}


def test_values_by_hand():
    """Copied from specs/oxe_facts.csv by eye."""
    bridge = published.find("bridge_orig")["action"]
    assert bridge.count == 2135463
    assert bridge.q01[0] == pytest.approx(-0.0287273, abs=1e-7)
    assert bridge.q99[5] == pytest.approx(0.203826, abs=1e-6)
    fractal = published.find("fractal20220817_data")["action"]
    wanted = [0.178247, 0.149384, 0.218424, 0.589267, 0.352727, 0.447967, 1]
    np.testing.assert_allclose(fractal.q99, wanted, atol=1e-6)


def test_quantiles_and_numbers_of_steps_are_those_of_the_facts(shared):
    facts = fakes.facts(shared)
    listed = {name for name, line in facts.items() if line["action_q01"]}
    assert listed == set(NAMES) - {"bridge_dataset"}
    for name in listed:
        found = published.find(name)["action"]
        assert found.count == int(facts[name]["num_transitions"])
        for ours, column in ((found.q01, "action_q01"), (found.q99, "action_q99")):
            theirs = [float(number) for number in facts[name][column].split()]
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-9, err_msg=name)


def test_all_are_what_the_source_says(shared):
    source = json.loads(
        (shared / "specs" / "oxe_stats" / "vgmact_dataset_statistics.json").read_text()
    )
    assert set(source) - set(ROWS) == {"rlbench"}
    for name in set(source) - {"rlbench"}:
        found, stated = published.find(name)["action"].to_json(), source[name]["action"]
        for field in ("q01", "q99", "mean", "std", "min", "max"):
            np.testing.assert_allclose(found[field], stated[field], rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("name", NAMES)
def test_a_row_is_sound(name):
    found = published.find(name)
    assert set(found) == {"action"}
    action = found["action"]
    assert len(action.q01) == ROWS[name].action_width
    assert np.all((action.min <= action.q01) & (action.q01 <= action.q99))
    assert np.all((action.q99 <= action.max) & (action.min <= action.mean))
    assert np.all((action.mean <= action.max) & (action.std >= 0))
    ends = [action.min[6], action.max[6]]
    if name in CONSTANT_GRIPPER:
        assert ends == [0, 0]
    else:
        np.testing.assert_allclose(ends, [0, 1], atol=2e-4)
    middle = actions.normalise(np.stack([action.q01, action.q99]), action)
    moving = action.q01 < action.q99  # berkeley_fanuc_manipulation's pitch is rarely other than 0
    np.testing.assert_allclose(middle[:, moving], [[-1.0] * moving.sum(), [1.0] * moving.sum()])
    assert not middle[:, ~moving].any()


def test_the_two_names_of_bridge_have_the_same():
    ours, theirs = (ROWS[name] for name in ("bridge_dataset", "bridge_orig"))
    same = ("motion", "gripper", "state", "drop_first", "drop_last", "every")
    assert all(getattr(ours, field) == getattr(theirs, field) for field in same)
    one, other = (published.find(row.name)["action"].to_json() for row in (ours, theirs))
    assert one == other


def test_most_rows_have_none_and_unknown_names_are_refused():
    assert published.find("droid") is None
    with pytest.raises(UserError, match="bridge_datset: no such data set"):
        published.find("bridge_datset")
