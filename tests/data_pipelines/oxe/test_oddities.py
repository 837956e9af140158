"""Each oddity against numbers worked out by hand."""

import zlib

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data_pipelines.oxe import oddities


def column(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float32)[:, None]


@pytest.mark.parametrize(
    ("fix", "stored", "wanted"),
    [
        (oddities.inverted, (0, 1, 0.25), (1, 0, 0.75)),
        (oddities.clipped, (-1, 0.5, 2), (0, 0.5, 1)),
        (oddities.from_255, (0, 51, 255), (0, 0.2, 1)),
        # It opens at step 2, so it was closed; it closes at step 4.
        (oddities.relative_to_absolute, (0, 0.05, -1, 0, 0.5, 0), (0, 0, 1, 1, 0, 0)),
        # It closes first, so it was open.
        (oddities.relative_to_absolute, (0, 0, 1, 0), (1, 1, 0, 0)),
        (oddities.relative_to_absolute, (-1, 1, -1), (1, 0, 1)),
        # At the threshold nothing moves, and what never moves is open.
        (oddities.relative_to_absolute, (0.1, -0.1, 0), (1, 1, 1)),
        # 0.6 and 0.5 lead to 0.02, 0.7 to 0.99.
        (oddities.binarised, (1, 0.6, 0.5, 0.02, 0.7, 0.99), (1, 0, 0, 0, 1, 1)),
        # In between at the end: the last value, as it is.
        (oddities.binarised, (1, 0.3, 0.4), (1, 0.4, 0.4)),
        # The thresholds themselves are in between.
        (oddities.binarised, (0.95, 0.05, 0), (0, 0, 0)),
    ],
)
def test_grippers(fix, stored, wanted):
    np.testing.assert_allclose(fix(column(*stored)), column(*wanted), atol=1e-7)


def test_grippers_of_no_step():
    for fix in (oddities.relative_to_absolute, oddities.binarised):
        assert fix(np.empty((0, 1), np.float32)).shape == (0, 1)


def test_relabelling_takes_what_was_reached():
    poses = np.array([[0, 10], [1, 9], [3, 9], [6, 5]], np.float32)
    wanted = [[1, -1], [2, 0], [3, -4], [0, 0]]
    np.testing.assert_array_equal(oddities.reached_deltas(poses), wanted)
    wanted = [[6, -5], [0, 0], [0, 0], [0, 0]]
    np.testing.assert_array_equal(oddities.reached_deltas(poses, every=3), wanted)


def test_relabelling_of_episodes_shorter_than_the_stride():
    poses = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(oddities.reached_deltas(poses, every=3), np.zeros((2, 3)))


HALF = np.sqrt(0.5)


@pytest.mark.parametrize(
    ("quaternion", "rpy"),
    [
        ((0, 0, 0, 1), (0, 0, 0)),
        ((HALF, 0, 0, HALF), (np.pi / 2, 0, 0)),  # about x: roll
        ((0, 0.5, 0, np.sqrt(0.75)), (0, np.pi / 3, 0)),  # about y: pitch
        ((0, 0, -HALF, HALF), (0, 0, -np.pi / 2)),  # about z: yaw
        ((0, 0, 2, 2), (0, 0, np.pi / 2)),  # no unit: scale does not matter
        ((0, HALF, 0, HALF), (0, np.pi / 2, 0)),  # straight up: yaw is 0 by convention
    ],
)
def test_quaternions_become_roll_pitch_yaw(quaternion, rpy):
    pose = np.array([(1, 2, 3, *quaternion)], np.float32)
    # arcsin is steep where the hand points straight up: float32 leaves half a milliradian.
    atol = 1e-3 if rpy[1] == np.pi / 2 else 1e-6
    np.testing.assert_allclose(oddities.quaternion_to_rpy(pose), [(1, 2, 3, *rpy)], atol=atol)


def test_quaternions_agree_with_scipy():
    turns = Rotation.random(50, random_state=0)
    pose = np.concatenate([np.zeros((50, 3)), turns.as_quat()], axis=1).astype(np.float32)
    found = oddities.quaternion_to_rpy(pose)[:, 3:]
    np.testing.assert_allclose(found, turns.as_euler("xyz"), atol=1e-5)


def test_a_quaternion_of_no_length_is_no_rotation():
    assert np.isnan(oddities.quaternion_to_rpy(np.zeros((1, 7), np.float32))[:, 3:]).all()


def test_waypoints_are_in_the_frame_and_unit_of_the_robot():
    # It looks along y, stands for a step, then drives 2 m a step; one stored unit is 2 m.
    y = np.array([0, 0, 2, 4, 6], np.float32)
    half = np.full(5, np.pi / 2, np.float32)
    stored = np.array([0, 1, 1, 1, 1], np.float32)
    base = np.stack([np.zeros(5), y, half, stored, np.zeros(5)], axis=1).astype(np.float32)
    wanted = np.zeros((5, 6))
    wanted[:3, 0] = [1, 2, 2]  # in two steps: 2, 4 and 4 m ahead
    np.testing.assert_allclose(oddities.waypoints(base, every=2), wanted, atol=1e-6)
    # Looking along x, the same way lies to the left.
    base[:, 2] = 0
    wanted = np.roll(wanted, 1, axis=1)
    np.testing.assert_allclose(oddities.waypoints(base, every=2), wanted, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_base_that_never_moves_has_no_waypoints(steps):
    base = np.ones((steps, 5), np.float32)
    np.testing.assert_array_equal(oddities.waypoints(base, every=3), np.zeros((steps, 6)))


def test_compressed_states():
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    stored = np.array([zlib.compress(row.tobytes()) for row in rows], object)
    np.testing.assert_array_equal(oddities.inflate(stored), rows)


def test_texts():
    stored = np.array([b"caf\xc3\xa9", b"\xff!", "open it"], object)
    assert oddities.decode_text(stored) == ["café", "\ufffd!", "open it"]


def test_character_codes():
    # "push é", padded; an empty one; one without room for padding.
    codes = [[112, 117, 115, 104, 32, 195, 169, 0], [0] * 8, [97] * 8]
    assert oddities.decode_characters(np.array(codes, np.int32)) == ["push é", "", "a" * 8]
