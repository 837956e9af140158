"""Rows applied to episodes: fakes of all data sets, some by hand, and real ones of BridgeData."""

import tracemalloc
import zlib

import numpy as np
import pytest

from data_pipelines.episode import Episode
from data_pipelines.oxe.registry import TABLE, find
from data_pipelines.oxe.standard import Standard, standardise
from tests.data_pipelines import shards
from tests.data_pipelines.oxe import fakes
from vidact.errors import UserError

every_row = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)


def check(row, found: Standard, steps: int) -> None:
    """What holds of any standard episode."""
    kept = np.arange(row.drop_first, steps)[:: row.every]
    kept = kept[: len(kept) - row.drop_last]
    np.testing.assert_array_equal(found.steps, kept)
    assert found.action.shape == (len(kept), row.action_width)
    assert found.state.shape == (len(kept), 8 if row.gripper else 14)
    assert np.isfinite(found.action).all() and np.isfinite(found.state).all()
    assert found.action.dtype == found.state.dtype == np.float32
    assert list(found.instructions) == ["put the pot on the stove"] * len(kept)


@every_row
@pytest.mark.parametrize("steps", [1, 2, 10])
def test_every_row_gives_standard_episodes(row, steps):
    if row.drop_first + row.drop_last <= steps:
        check(row, standardise(row, fakes.episode(row, steps=steps)), steps)


def test_every_row_takes_features_of_the_published_shapes(shared):
    facts = fakes.facts(shared)
    for row in TABLE:
        made = fakes.episode(row, fakes.features_of(row.name, facts))
        found = standardise(row, made)
        check(row, found, 10)
        # It looks at nothing but what it names.
        named = {path: made[path] for path in (*row.arrays, row.text)}
        np.testing.assert_array_equal(standardise(row, named).action, found.action)


def test_end_effectors_and_bases_have_seven_columns_and_joints_have_not():
    other = {row.name: row.action_width for row in TABLE if row.action_width != 7}
    assert other == {
        "berkeley_mvp_converted_externally_to_rlds": 8,
        "berkeley_rpt_converted_externally_to_rlds": 8,
        "roboset": 8,
        "aloha_static_dataset": 14,
        "aloha_dagger_dataset": 14,
        "aloha_mobile_dataset": 14,
    }


def apply(name: str, **features) -> Standard:
    """Standardises features given as lists; '__' in a keyword stands for '/'."""
    row = find(name)
    named = {key.replace("__", "/"): np.asarray(value) for key, value in features.items()}
    made = fakes.episode(row, steps=len(next(iter(named.values()))))
    return standardise(row, made | named)


@pytest.mark.parametrize("name", ["bridge_dataset", "bridge_orig"])
def test_bridge_is_relabelled_without_its_first_step(name):
    state = [
        [9, 9, 9, 9, 9, 9, 9],
        [0, 0, 0, 0, 0, 0, 1],
        [1, 2, 3, 0.1, 0.2, 0.3, 1],
        [1, 3, 5, 0.1, 0.1, 0.5, 0],
        [2, 3, 5, 0.1, 0.1, 0.5, 0],
    ]
    action = np.full((5, 7), 7.0)
    action[:, 6] = [0.5, 1, 0.5, 0.02, 0.3]
    found = apply(name, observation__state=state, action=action)
    wanted = [
        [1, 2, 3, 0.1, 0.2, 0.3, 1],
        [0, 1, 2, 0, -0.1, 0.2, 0],  # 0.5 on the way to 0.02
        [1, 0, 0, 0, 0, 0, 0],
    ]
    np.testing.assert_allclose(found.action, wanted, atol=1e-6)
    np.testing.assert_array_equal(found.steps, [1, 2, 3])
    np.testing.assert_allclose(found.state[1], [1, 2, 3, 0.1, 0.2, 0.3, 0, 1], atol=1e-6)


def test_bridge_grippers_are_binarised_before_the_last_step_goes():
    action = np.zeros((4, 7))
    action[:, 6] = [1, 0.5, 0.5, 1]  # what the last step says counts
    found = apply("bridge_dataset", action=action)
    np.testing.assert_array_equal(found.action[:, 6], [1, 1])


def test_oxe_bridge_takes_its_boolean_gripper():
    found = apply("bridge_oxe", action__open_gripper=[True, False, True, True])
    np.testing.assert_array_equal(found.action[:, 6], [0, 1])


def test_google_robots_gripper_is_relative_and_its_base_is_left_out():
    base = {"action__base_displacement_vector": np.ones((4, 2))}
    found = apply(
        "fractal20220817_data",
        action__world_vector=np.full((4, 3), 0.1),
        action__rotation_delta=np.full((4, 3), 0.2),
        action__gripper_closedness_action=[[0], [1], [0], [-1]],
        **base,
    )
    wanted = np.array([[0.1, 0.1, 0.1, 0.2, 0.2, 0.2, g] for g in (1, 0, 0, 1)])
    np.testing.assert_allclose(found.action, wanted, atol=1e-6)
    assert not any("base_displacement" in path for path in find("fractal20220817_data").arrays)


def test_kukas_states_may_be_compressed():
    pose, closed = np.arange(14, dtype=np.float32).reshape(2, 7), np.array([[0.25], [0.5]], "f4")
    squeeze = lambda rows: np.array([zlib.compress(row.tobytes()) for row in rows], object)  # noqa: E731
    names = find("kuka").compressed
    made = fakes.episode(find("kuka"), steps=2)
    found = standardise(find("kuka"), made | {names[0]: squeeze(pose), names[1]: squeeze(closed)})
    np.testing.assert_array_equal(found.state, np.concatenate([pose, closed], axis=1))


def test_missing_rotations_and_grippers_are_constants():
    jaco = apply("jaco_play", action__world_vector=np.ones((3, 3)))
    np.testing.assert_array_equal(jaco.action[:, 3:6], 0)
    cable = apply("berkeley_cable_routing", action__world_vector=np.ones((3, 3)))
    np.testing.assert_array_equal(cable.action[:, 6], 0)
    table = apply("language_table", action=[[0.1, 0.2]])
    np.testing.assert_allclose(table.action, [[0.1, 0.2, 0, 0, 0, 0, 1]], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "key", "stored", "wanted"),
    [
        ("taco_play", "action/rel_actions_world", [-1, 1, 0.5], [0, 1, 0.5]),
        ("roboturk", "action/gripper_closedness_action", [[-1], [1], [0.25]], [1, 0, 0.75]),
        ("viola", "action/gripper_closedness_action", [-1.0, 1.0, 0.25], [1, 0, 0.75]),
        ("toto", "action/open_gripper", [True, False, True], [1, 0, 1]),
        ("stanford_hydra_dataset_converted_externally_to_rlds", "action", [0, 1, 1], [1, 0, 0]),
        ("austin_buds_dataset_converted_externally_to_rlds", "action", [-1, 1, 1], [1, 0, 0]),
        ("bc_z", "action/future/target_close", [[0] * 10, [1] * 10, [1] * 10], [1, 0, 0]),
        ("berkeley_fanuc_manipulation", "observation/state", [0, 1, 1], [1, 0, 0]),
        ("mujoco_manip", "action", [0, 255, 51], [1, 0, 0.8]),
        ("droid", "action_dict/gripper_position", [[0.0], [1.0], [0.25]], [1, 0, 0.75]),
        ("libero_10_no_noops", "action", [-1, 1, 1], [1, 0, 0]),
        ("tdroid_flip_pot_upright", "action", [0.5, 0.5, 1], [1, 1, 1]),
        ("nyu_rot_dataset_converted_externally_to_rlds", "action", [0, 1, 1], [0, 1, 1]),
    ],
)
def test_grippers_end_as_one_for_open(name, key, stored, wanted):
    stored = np.asarray(stored)
    if key in ("action", "observation/state", "action/rel_actions_world"):
        stored = np.concatenate([np.zeros((3, 6)), stored[:, None]], axis=1)
    found = apply(name, **{key.replace("/", "__"): stored})
    np.testing.assert_allclose(found.action[:, -1], wanted, atol=1e-6)


def test_columns_are_picked_from_wide_actions():
    numbers = np.arange(15.0)[None].repeat(2, 0)
    play = apply("nyu_franka_play_dataset_converted_externally_to_rlds", action=numbers)
    np.testing.assert_array_equal(play.action[0], [7, 8, 9, 10, 11, 12, 1])  # 13 clipped to 1
    both = apply("utokyo_xarm_bimanual_converted_externally_to_rlds", action=numbers[:, :14])
    np.testing.assert_array_equal(both.action[0], [7, 8, 9, 10, 11, 12, 13])
    net = apply("robo_net", action=numbers[:, :5])
    np.testing.assert_array_equal(net.action[0], [0, 1, 2, 3, 0, 0, 4])
    kaist = apply("kaist_nonprehensile_converted_externally_to_rlds", action=numbers)
    np.testing.assert_array_equal(kaist.action[0], [0, 1, 2, 3, 4, 5, 0])
    mobile = apply("aloha_mobile_dataset", action=np.arange(16.0)[None])
    np.testing.assert_array_equal(mobile.action[0], np.arange(14))


@pytest.mark.parametrize(
    ("name", "gripper"),
    [
        ("furniture_bench_dataset_converted_externally_to_rlds", 0.75),  # inverted
        ("iamlab_cmu_pickup_insert_converted_externally_to_rlds", 0.25),
        ("cmu_playing_with_food", 0.25),
        ("cmu_play_fusion", 0.25),  # the ninth column ends the episode
    ],
)
def test_quaternions_become_angles(name, gripper):
    half = np.sqrt(0.5)
    found = apply(name, action=[[1, 2, 3, half, 0, 0, half, 0.25, 1]])
    np.testing.assert_allclose(found.action, [[1, 2, 3, np.pi / 2, 0, 0, gripper]], atol=1e-6)


def test_states_are_laid_out_alike():
    numbers = np.arange(35.0)[None]
    hydra = apply("stanford_hydra_dataset_converted_externally_to_rlds", observation__state=numbers)
    np.testing.assert_array_equal(hydra.state[0], [0, 1, 2, 7, 8, 9, 0, 24])
    bench = apply(
        "furniture_bench_dataset_converted_externally_to_rlds", observation__state=numbers
    )
    np.testing.assert_array_equal(bench.state[0], [0, 1, 2, 3, 4, 5, 6, 34])
    stretch = apply("cmu_stretch", observation__state=numbers[:, :4])
    np.testing.assert_array_equal(stretch.state[0], [0, 1, 2, 0, 0, 0, 0, 3])
    assert not apply("roboturk", action__world_vector=np.ones((2, 3))).state.any()


def test_rpt_is_relabelled_at_a_third_of_its_rate():
    joints = np.arange(8.0)[:, None].repeat(7, 1) ** 2
    action = np.zeros((8, 8))
    action[:, 7] = [0, 1, 1, 1, 0, 0, 1, 1]
    found = apply(
        "berkeley_rpt_converted_externally_to_rlds", observation__joint_pos=joints, action=action
    )
    np.testing.assert_array_equal(found.steps, [0, 3])
    np.testing.assert_array_equal(found.action[:, 0], [9, 27])  # 9 - 0 and 36 - 9
    np.testing.assert_array_equal(found.action[:, 7], [1, 0])


def test_gnm_drives_in_its_own_frame_at_a_third_of_its_rate():
    y = np.arange(8.0)
    found = apply(
        "gnm_dataset",
        observation__position=np.stack([np.zeros(8), 2 * y], axis=1),
        observation__yaw=np.full((8, 1), np.pi / 2),
        action=np.stack([np.ones(8), np.zeros(8)], axis=1),  # a stored unit is 2 m
    )
    np.testing.assert_array_equal(found.steps, [0, 3])
    np.testing.assert_allclose(found.action, [[3, 0, 0, 0, 0, 0, 0]] * 2, atol=1e-5)


def test_texts_that_say_nothing_are_blanked_on_demand():
    viola, taco = find("viola"), find("taco_play")
    text = "put the pot on the stove"
    assert standardise(viola, fakes.episode(viola, steps=2)).instructions == [text] * 2
    assert standardise(viola, fakes.episode(viola, steps=2), True).instructions == [""] * 2
    assert standardise(taco, fakes.episode(taco, steps=2), True).instructions == [text] * 2


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ({"action": None}, r"bridge_dataset: no action among .*observation/state"),
        ({"language_instruction": None}, "bridge_dataset: no language_instruction among"),
        ({"action": np.zeros((6, 5))}, "bridge_dataset: action has 5 columns, 7 are needed"),
        ({"action": np.zeros((5, 7))}, "bridge_dataset: action has 5 steps where others have 6"),
        ({"action": np.array([b"x"] * 6)}, "bridge_dataset: action holds no numbers"),
        (
            {"observation/state": np.where(np.arange(42).reshape(6, 7) == 22, np.inf, 0)},
            "bridge_dataset: observation/state at step 3, dimension 1 is inf; mend",
        ),
        (  # the way from one pose to the next is more than float32 holds
            {"observation/state": np.where(np.arange(42).reshape(6, 7) < 22, 3e38, -3e38)},
            "bridge_dataset: action at step 2, dimension 1 is -inf; mend or remove the episode",
        ),
    ],
)
def test_damage_is_named(broken, told):
    row = find("bridge_dataset")
    made = fakes.episode(row, steps=6) | broken
    with pytest.raises(UserError, match=told):
        standardise(row, {key: value for key, value in made.items() if value is not None})


@pytest.fixture(scope="module")
def bridge(shared) -> list[tuple[Episode, Standard]]:
    """Real episodes, as read and as the row makes them."""
    row = find("bridge_dataset")
    source = shards.opened(shared / "data/bridge_dataset", "observation/image_0", fps=5.0)
    episodes = [source.episode(index) for index in range(len(source))]
    return [(episode, standardise(row, features_of(episode))) for episode in episodes]


def features_of(episode: Episode) -> dict[str, np.ndarray]:
    return {
        "action": episode.actions,
        "observation/state": episode.states,
        "language_instruction": np.array(episode.instructions, object),
    }


def test_real_bridge_actions_lead_to_the_states_that_were_reached(bridge):
    for episode, made in bridge:
        np.testing.assert_array_equal(made.steps, np.arange(1, len(episode) - 1))
        reached = episode.states[made.steps, :6] + made.action[:, :6]
        np.testing.assert_allclose(reached, episode.states[made.steps + 1, :6], atol=1e-6)
        assert made.instructions == episode.instructions[1:-1]


def test_real_bridge_actions_are_much_like_the_recorded_ones(bridge):
    recorded = np.concatenate([episode.actions[made.steps] for episode, made in bridge])
    relabelled = np.concatenate([made.action for _, made in bridge])
    for dimension in range(6):
        assert np.corrcoef(recorded[:, dimension], relabelled[:, dimension])[0, 1] > 0.7
    assert set(relabelled[:, 6]) == {0, 1} != set(recorded[:, 6])


def test_real_bridge_actions_lie_in_the_published_ranges(bridge, shared):
    line = fakes.facts(shared)["bridge_orig"]
    low, high = ([float(x) for x in line[f"action_{q}"].split()][:6] for q in ("q01", "q99"))
    actions = np.concatenate([made.action for _, made in bridge])[:, :6]
    assert ((actions >= low) & (actions <= high)).mean(0).min() > 0.9


POSE = "observation/clip_function_input/base_pose_tool_reached"


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (zlib.compress(bytes(2**26)), "step 1: more than 4096 bytes"),
        (zlib.compress(bytes(27))[:-5], "step 1: cut short"),
        (zlib.compress(bytes(27)), "step 1: 27 bytes are no numbers of 4"),
        (zlib.compress(bytes(24)), "step 1: 6 numbers where step 0 has 7"),
        (b"no zlib", "step 1: Error -3"),
        ("a text", "step 1: no bytes"),
    ],
)
def test_compressed_states_that_are_none(step, told):
    row = find("kuka")
    made = fakes.episode(row, steps=3)
    whole = zlib.compress(np.arange(7, dtype=np.float32).tobytes())
    made[POSE] = np.array([whole, step, whole], object)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=f"^kuka: {POSE}: {told}.*; mend or remove"):
            standardise(row, made)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_a_compressed_state_that_is_not_finite():
    row = find("kuka")
    made = fakes.episode(row, steps=3)
    poses = np.zeros((3, 7), np.float32)
    poses[2, 4] = np.nan
    made[POSE] = np.array([zlib.compress(pose.tobytes()) for pose in poses], object)
    with pytest.raises(UserError, match=f"{POSE} at step 2, dimension 4 is nan; mend"):
        standardise(row, made)


def test_a_number_beyond_float32_is_told_at_its_stored_step():
    row = find("bridge_dataset")  # drops the first step
    made = fakes.episode(row, steps=5)
    made["observation/state"] = made["observation/state"].astype(np.float64)
    made["observation/state"][3, 1] = 1e39
    message = r"observation/state at step 3, dimension 1 is 1e\+39, more than float32 holds"
    with pytest.raises(UserError, match=message):
        standardise(row, made)


@pytest.mark.parametrize("code", [-1, 256])
def test_characters_that_are_none(code):
    row = find("language_table")
    made = fakes.episode(row, steps=3)
    made[row.text][1, 0] = code
    with pytest.raises(UserError, match=f"language_table: {row.text}: step 1: {code} is no byte"):
        standardise(row, made)
