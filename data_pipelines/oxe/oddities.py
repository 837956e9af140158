"""What the data sets of Open X-Embodiment need fixed, one small function each, in NumPy alone.

The registry's rows name them. A fix of numbers takes the columns that its row names, float32 [n, k]
with the steps as first axis, and returns as many steps; a fix of texts returns n strings. Formulas
follow octo (octo/data/utils/data_utils.py, octo/data/oxe/oxe_standardization_transforms.py at
241fb35) and OpenVLA (prismatic/vla/datasets/rlds/oxe/ at c8f03f4).
"""

import zlib

import numpy as np
from jaxtyping import Float, Int, Shaped

Columns = Float[np.ndarray, "n k"]

# Relative grippers: below, the hand does not move. Absolute ones: beyond, it is closed or open.
MOVES = 0.1
CLOSED, OPEN = 0.05, 0.95

MAX_INFLATED = 4096
"""Most bytes that a compressed step may hold: Kuka's are of 28."""


def inverted(gripper: Columns) -> Columns:
    """1 - g, where the data set's 1 means closed."""
    return 1 - gripper


def clipped(gripper: Columns) -> Columns:
    """Clips to 0 .. 1; with -1 .. 1 stored, 0 stands for the negative end."""
    return np.clip(gripper, 0, 1)


def from_255(gripper: Columns) -> Columns:
    """g / 255, where the gripper's opening is stored as a byte."""
    return gripper / 255


def relative_to_absolute(gripper: Columns) -> Columns:
    """Moves (above 0.1 closes, below -0.1 opens) to states: 1 open, 0 closed.

    The hand stays as it was moved last. Before the first move it is the opposite of what that move
    makes it, and without any move it is open throughout.
    """
    made = np.where(gripper < -MOVES, 1.0, np.where(gripper > MOVES, 0.0, np.nan))
    return np.stack([_held(column) for column in made.T], axis=1).astype(np.float32)


def _held(made: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Fills NaN with the last number before it, or with 1 minus the first number, or with 1."""
    moves = np.flatnonzero(np.isfinite(made))
    if not len(moves):
        return np.ones_like(made)
    last = np.searchsorted(moves, np.arange(len(made)), side="right") - 1
    return np.where(last < 0, 1 - made[moves[0]], made[moves[last]])


def binarised(gripper: Columns) -> Columns:
    """Open (above 0.95) is 1, closed (below 0.05) is 0, and between them is what comes next.

    Where an episode ends in between, those last steps take the last step's value as it is.
    """
    settled = np.where(gripper > OPEN, 1.0, np.where(gripper < CLOSED, 0.0, np.nan))
    settled[-1:] = np.where(np.isnan(settled[-1:]), gripper[-1:], settled[-1:])
    return np.stack([_next(column) for column in settled.T], axis=1).astype(np.float32)


def _next(settled: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Fills NaN with the first number after it; the last one is a number."""
    known = np.flatnonzero(np.isfinite(settled))
    return settled[known[np.searchsorted(known, np.arange(len(settled)))]]


def reached_deltas(poses: Columns, every: int = 1) -> Columns:
    """Relabelling: from the pose reached at a step to the one reached `every` steps later.

    Plain differences, of angles too. The last `every` steps have no later pose and are zero; the
    row drops what is left of them.
    """
    deltas = np.zeros_like(poses)
    deltas[:-every] = poses[every:] - poses[:-every]
    return deltas


def quaternion_to_rpy(pose: Float[np.ndarray, "n 7"]) -> Float[np.ndarray, "n 6"]:
    """Position and quaternion (x, y, z, w) to position and roll, pitch, yaw in radians.

    R = Rz(yaw) Ry(pitch) Rx(roll), as tensorflow_graphics' euler.from_quaternion. Where pitch is
    +-90 degrees yaw is 0. A quaternion of norm 0 gives NaN.
    """
    with np.errstate(invalid="ignore"):
        unit = pose[:, 3:] / np.linalg.norm(pose[:, 3:], axis=1, keepdims=True)
    x, y, z, w = unit.T.astype(np.float64)
    pitch = np.arcsin(np.clip(2 * (w * y - z * x), -1, 1))
    free = np.abs(w * y - z * x) < 0.5 - 1e-7
    locked_roll = np.arctan2(2 * (x * w - y * z), 1 - 2 * (x * x + z * z))
    roll = np.where(free, np.arctan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y)), locked_roll)
    yaw = np.where(free, np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)), 0 * w)
    angles = np.stack([roll, pitch, yaw], axis=1)
    return np.concatenate([pose[:, :3], angles], axis=1).astype(np.float32)


def waypoints(base: Float[np.ndarray, "n 5"], every: int) -> Float[np.ndarray, "n 6"]:
    """A driving robot's (x, y, yaw, stored dx, stored dy) to where it is `every` steps later.

    In the robot's own frame and in the stored actions' unit, taken from the first step that moves;
    zero where it never moves and for the last `every` steps. Then four columns of zeros.
    """
    position, yaw, stored = base[:, :2], base[:, 2], base[:, 3:]
    steps = np.linalg.norm(np.diff(position, axis=0), axis=1)
    moving = np.flatnonzero(steps)[:1]
    unit = np.linalg.norm(stored[moving], axis=1) / steps[moving] if len(moving) else np.zeros(1)
    dx, dy = reached_deltas(position, every).T
    ahead = np.cos(yaw) * dx + np.sin(yaw) * dy
    left = np.cos(yaw) * dy - np.sin(yaw) * dx
    moved = np.stack([ahead, left], axis=1) * unit
    return np.concatenate([moved, np.zeros((len(base), 4))], axis=1).astype(np.float32)


def inflate(stored: Shaped[np.ndarray, " n"]) -> Float[np.ndarray, "n k"]:
    """Float32 arrays that TFDS stored as zlib-compressed bytes, one a step.

    Raises:
      ValueError: the bytes are no compressed float32, of more than MAX_INFLATED bytes, or steps
        differ in width; names the step.
    """
    steps: list[np.ndarray] = []
    for number, packed in enumerate(stored.tolist()):
        try:
            steps.append(np.frombuffer(_inflated(packed), np.float32))
            if len(steps[-1]) != len(steps[0]):
                raise ValueError(f"{len(steps[-1])} numbers where step 0 has {len(steps[0])}")
        except (ValueError, zlib.error) as error:
            raise ValueError(f"step {number}: {error}") from error
    return np.stack(steps)


def _inflated(packed: object) -> bytes:
    if not isinstance(packed, bytes):
        raise ValueError("no bytes")
    inflater = zlib.decompressobj()
    found = inflater.decompress(packed, MAX_INFLATED + 1)
    if len(found) > MAX_INFLATED:  # a few bytes may claim to hold gigabytes
        raise ValueError(f"more than {MAX_INFLATED} bytes")
    if not inflater.eof:
        raise ValueError("cut short")
    if len(found) % 4:
        raise ValueError(f"{len(found)} bytes are no numbers of 4")
    return found


def decode_text(stored: Shaped[np.ndarray, " n"]) -> list[str]:
    """UTF-8 bytes, or strings, one a step; what is no UTF-8 becomes U+FFFD."""
    texts = {text: _text(text) for text in set(stored.tolist())}
    return [texts[text] for text in stored.tolist()]


def _text(stored: bytes | str) -> str:
    return stored.decode("utf-8", "replace") if isinstance(stored, bytes) else stored


def decode_characters(codes: Int[np.ndarray, "n k"]) -> list[str]:
    """Instructions stored as integers, one a byte of UTF-8, padded with zeros: language_table.

    octo takes them for code points; the data set's description calls them bytes. Alike for ASCII.

    Raises:
      ValueError: an integer is no byte.
    """
    wrong = np.argwhere((codes < 0) | (codes > 255))
    if len(wrong):
        raise ValueError(f"step {wrong[0][0]}: {codes[tuple(wrong[0])]} is no byte")
    raw = [bytes(row.tolist()).partition(b"\0")[0] for row in codes]
    return [text.decode("utf-8", "replace") for text in raw]
