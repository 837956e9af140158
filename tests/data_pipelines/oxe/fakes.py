"""Fake episodes in the shape of a registry's row and, where known, of specs/oxe_facts.csv."""

import csv
import io
import pathlib
import re
from typing import Any

import numpy as np
import simplejpeg
import tensorflow_datasets as tfds

from data_pipelines import rlds_writer
from data_pipelines.oxe.columns import parse
from data_pipelines.oxe.oddities import decode_characters
from data_pipelines.oxe.row import Row

FACTS = "specs/oxe_facts.csv"
# Where the table has a data set's features under another name.
ALSO_KNOWN = {"bridge_oxe": "bridge", "fmb_dataset": "fmb", "roboset": "robo_set"}
IMAGE = re.compile(r"(?P<name>\S+): (?P<h>\d+)x(?P<w>\d+)x(?P<c>\d+) (?P<dtype>\w+)")
FIELD = re.compile(r"(?P<name>\S+) \((?P<dtype>\w+) (?P<width>\w+)\)")


def facts(shared: pathlib.Path) -> dict[str, dict[str, str]]:
    """The table, by data set."""
    with open(shared / FACTS, newline="") as file:
        return {line["dataset"]: line for line in csv.DictReader(file)}


def features_of(name: str, known: dict[str, dict[str, str]]) -> dict[str, str]:
    """The line that describes a data set's features."""
    line = known.get(name, {"action_raw": "", "observation_keys": ""})
    return line if line["action_raw"] else known.get(ALSO_KNOWN.get(name, ""), line)


def action_fields(line: dict[str, str]) -> dict[str, tuple[str, int]]:
    """Path -> dtype and width ('scalar' is 0) of the table's column action_raw."""
    raw = line["action_raw"]
    if raw.startswith("dict"):
        found = FIELD.finditer(raw)
        return {f"action/{m['name']}": (m["dtype"], _width(m["width"])) for m in found}
    return {"action": (raw.split()[0], _width(raw.split()[1]))} if raw else {}


def _width(text: str) -> int:
    return 0 if text == "scalar" else int(text)


def image_shapes(line: dict[str, str]) -> dict[str, tuple[int, ...]]:
    """Path -> shape of the table's column images_shape_encoding."""
    found = IMAGE.finditer(line.get("images_shape_encoding", ""))
    return {f"observation/{m['name']}": (int(m["h"]), int(m["w"]), int(m["c"])) for m in found}


def widths(row: Row) -> dict[str, int]:
    """How many columns of each feature the row needs."""
    gripper = row.gripper.columns if row.gripper else ""
    needed: dict[str, int] = {}
    for term in parse(f"{row.motion.columns} {gripper} {row.state.columns}"):
        if term.path:
            needed[term.path] = max(needed.get(term.path, 0), term.stop)
    return needed


def episode(row: Row, line: dict[str, str] | None = None, steps: int = 10, seed: int = 0) -> dict:
    """All features of an episode: noise within -1 .. 1, black frames and a text.

    Args:
      row: which features are needed, and how wide at least.
      line: the table's line, whose actions and frames are made as well, with its dtypes.
    """
    random = np.random.default_rng(seed)
    made = {
        path: random.uniform(-1, 1, (steps, width)).astype(np.float32)
        for path, width in widths(row).items()
    }
    for path, (dtype, width) in action_fields(line or {"action_raw": ""}).items():
        values = random.uniform(-1, 1, (steps, width) if width else steps)
        made[path] = (values > 0) if dtype == "bool" else values.astype(dtype)
    for path, shape in image_shapes(line or {}).items():
        made[path] = np.broadcast_to(np.uint8(0), (steps, *shape))
    text = b"put the pot on the stove"
    made[row.text] = np.array([text] * steps, object)
    if row.decode is decode_characters:
        made[row.text] = np.array([list(text.ljust(512, b"\0"))] * steps, np.int32)
    return made


def write(root: pathlib.Path, row: Row, steps: int = 10, **changes: np.ndarray) -> pathlib.Path:
    """Writes two fake episodes with black frames as RLDS to root/ROW'S NAME, which it returns.

    Args:
      row: which data set.
      steps: of each episode.
      changes: features of both episodes; '__' in a keyword stands for '/'.
    """
    given = {key.replace("__", "/"): value for key, value in changes.items()}
    made = [episode(row, steps=steps, seed=seed) | given for seed in range(2)]
    leaves: dict[str, Any] = {
        path: tfds.features.Text()
        if values.dtype == object
        else tfds.features.Tensor(shape=values.shape[1:], dtype=values.dtype)
        for path, values in made[0].items()
    }
    jpeg = simplejpeg.encode_jpeg(np.zeros((16, 16, 3), np.uint8))
    for path in filter(None, row.cameras):
        leaves[path] = tfds.features.Image(shape=(16, 16, 3), encoding_format="jpeg")
    spec = tfds.features.FeaturesDict({"steps": tfds.features.Dataset(_nested(leaves))})

    def step(features: dict[str, np.ndarray], i: int) -> dict[str, Any]:
        frames = {path: io.BytesIO(jpeg) for path in row.cameras if path}
        return _nested({path: values[i] for path, values in features.items()} | frames)

    folder = root / row.name / "1.0.0"
    episodes = [{"steps": [step(features, i) for i in range(steps)]} for features in made]
    rlds_writer.write(folder, episodes, spec, "fakes", {})
    return folder.parent


def _nested(leaves: dict[str, Any]) -> dict[str, Any]:
    """{'a/b': 1} as {'a': {'b': 1}}."""
    found: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *outer, name = path.split("/")
        inner = found
        for key in outer:
            inner = inner.setdefault(key, {})
        inner[name] = leaf
    return found
