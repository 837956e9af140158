"""Every row is sound in itself and agrees with specs/oxe_facts.csv, or its note says why not."""

import pytest

from data_pipelines.oxe.columns import parse, width
from data_pipelines.oxe.oddities import reached_deltas
from data_pipelines.oxe.registry import NO_STATE, ROWS, TABLE, find
from data_pipelines.oxe.row import Cameras, Row, fix_name
from tests.data_pipelines.oxe import fakes
from vidact.errors import UserError

ENCODINGS = {
    "EEF_POS": "eef",
    "JOINT_POS": "joint",
    "JOINT_POS_BIMANUAL": "joint",
    "JOINT_POS_BIMANUAL_NAV": "joint",
    "NAV_2D": "base",
}
STATES = {
    "POS_EULER": "euler",
    "POS_QUAT": "quaternion",
    "JOINT": "joints",
    "JOINT_BIMANUAL": "joints",
    "POS_NAV": "base",
    "NONE": "none",
}
OPS = {"clipped": "clip0-1", "inverted": "invert", "relative_to_absolute": "rel2abs"}
OPS["binarised"] = "binarize"

every_row = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)


@pytest.fixture(scope="module")
def facts(shared):
    return fakes.facts(shared)


def known(facts) -> list[tuple[Row, dict[str, str]]]:
    """Rows with their line of the table, which has all but SpatialVLA's one."""
    return [(row, facts[row.name]) for row in TABLE if row.name != "rh20t_rlds"]


def published(line: dict[str, str], column: str) -> set[str]:
    """What octo and OpenVLA say, where they say something."""
    return {line[name] for name in (f"{column}_octo", f"{column}_openvla") if line.get(name)}


def test_each_name_once():
    assert len(ROWS) == len(TABLE)


@every_row
def test_the_columns_add_up(row):
    arm = {"eef": 6, "base": 6}.get(row.motion.encoding.split("_")[0])
    made_by_fix = {"quaternion_to_rpy": 7, "waypoints(every=3)": 5}
    if row.motion.fix and fix_name(row.motion.fix) in made_by_fix:
        arm = made_by_fix[fix_name(row.motion.fix)]
    if row.gripper:
        assert width(row.motion.columns) == (arm or 7)
        assert width(row.gripper.columns) == 1
        assert width(row.state.columns) == 8
    else:
        assert width(row.motion.columns) == width(row.state.columns) == 14
    assert any(row.cameras)
    assert all(path.startswith("observation/") for path in row.cameras if path)


def test_robots_rates_and_cameras_agree_with_the_facts(facts):
    for row, line in known(facts):
        assert line["robot"] in (row.robot, ""), row.name
        assert not line["control_hz"] or row.hz == float(line["control_hz"]), row.name
        cameras = row.cameras
        if row.name == "dobbe":  # the table has OpenVLA's kind
            cameras = Cameras(primary=cameras.wrist)
        for kind, path in cameras._asdict().items():
            assert path.removeprefix("observation/") == line[f"image_{kind}"], row.name


def test_encodings_agree_with_the_facts(facts):
    for row, line in known(facts):
        actions = {ENCODINGS[name] for name in published(line, "action_encoding")}
        if not row.name.startswith("berkeley_gnm"):  # OpenVLA has no word for a base
            assert actions == {row.motion.encoding.split("_")[0]}, row.name
        names = {line["state_encoding_openvla"], line["proprio_encoding_octo"]} - {""}
        if row.state.encoding not in {STATES[name] for name in names}:
            told = "state" in row.note or row.state.encoding == "base" or row.state == NO_STATE
            assert told, row.name


def test_texts_agree_with_the_facts(facts):
    for row, line in known(facts):
        assert row.uninformative == (line["language_blanked_octo"] == "True"), row.name
        key = line["language_key"].split(" ")[0]  # "step.x", "observation.x" or "step: x (..."
        parts = key.split(".") if key != "step:" else ["step", "language_instruction"]
        assert row.text == "/".join(part for part in parts if part != "step"), row.name


def test_fixes_agree_with_the_facts(facts):
    for row, line in known(facts):
        fixes = row.gripper.fixes if row.gripper else ()
        ops = {OPS.get(fix_name(fix), "") for fix in fixes} - {""}
        wanted = [set(name.split("+")) for name in published(line, "gripper_ops")]
        # The table found these words in code by their text: DROID's `1 -` is none of them.
        assert ops in (wanted or [set()]) or row.name in ("droid", "droid_wipe"), row.name
        relabelled = line["relabelled_from_state"] == "True"
        assert relabelled == (row.motion.fix is reached_deltas), row.name
        assert relabelled == (row.drop_first == 1), row.name


def test_the_features_exist(facts):
    described = 0
    for row in TABLE:
        line = fakes.features_of(row.name, facts)
        fields = fakes.action_fields(line)
        if not fields:
            continue  # its features are published nowhere
        described += 1
        seen = {f"observation/{key.strip()}" for key in line["observation_keys"].split(",")}
        for path, columns in fakes.widths(row).items():
            if path in fields:
                assert columns <= max(fields[path][1], 1), row.name
            else:
                # Beside the action: DROID's dictionary of actions, and what a simulator knows.
                beside = path.split("/")[0] in ("action_dict", "ground_truth_states")
                assert path in seen or beside, row.name
        missing = {path for path in row.cameras if path} - set(fakes.image_shapes(line))
        assert not missing or row.name == "bridge_oxe"  # only OpenVLA has its image_1
        assert row.text in seen | {"language_instruction"}, row.name
    assert described > 55


def test_rates_are_those_of_the_kept_steps():
    assert find("berkeley_rpt_converted_externally_to_rlds").rate == 10
    assert find("aloha_mobile_dataset").rate == 10
    assert find("bridge_dataset").rate == 5
    assert find("gnm_dataset").rate is None


def test_every_data_set_of_octo_and_openvla_has_a_row(facts):
    theirs = {name for name, line in facts.items() if published(line, "action_encoding")}
    assert theirs <= set(ROWS)
    assert set(ROWS) - theirs == {"rh20t_rlds"}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("fractal", "did you mean fractal20220817_data"),
        ("bridge_data", "did you mean bridge_dataset"),
        ("austin_bud_dataset", "austin_buds_dataset_converted_externally_to_rlds"),
        ("%", "see python -m data_pipelines.oxe"),
        ("", "see python -m data_pipelines.oxe"),
    ],
)
def test_unknown_names_are_refused_with_similar_ones(name, hint):
    with pytest.raises(UserError, match=hint):
        find(name)


@pytest.mark.parametrize("columns", ["action", "action[1:]", "action[-1]", "2", "action[0:6]x"])
def test_a_slip_in_the_notation_is_found(columns):
    with pytest.raises(ValueError, match="want PATH"):
        parse(columns)
