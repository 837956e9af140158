"""Stored latents and text embeddings of a data set: the folder that `vidact.encode` writes.

encoded.json                       what was encoded, with what, and the instructions
windows-00000-of-00012.safetensors latents, condition, latent_mask (`data_pipelines.sidecars`)
windows-00000-of-00012.left_out.json  windows that it lacks since they cannot be read, if any
texts.safetensors                  one tensor [l, D] per instruction, by its number
video_codec.safetensors            where the codec was fitted to the data
bad_records.txt                    what could not be read, if anything
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_collections
import numpy as np

from data_pipelines import left_out
from data_pipelines.bad_records import BadRecords
from data_pipelines.sidecars import Sidecar
from data_pipelines.windows import Windows
from vidact import store
from vidact.errors import UserError

DESCRIPTION, TEXTS, CODEC = "encoded.json", "texts.safetensors", "video_codec.safetensors"
BAD_RECORDS = "bad_records.txt"
# What of a configuration makes these latents and embeddings.
DATA_KEYS = (
    "mixture",
    "registry",
    "cameras",
    "blank_uninformative",
    "split",
    "image_key",
    "further_image_keys",
    "tiles",
    "instruction_key",
    "frames",
    "history",
    "resolution",
    "fit",
    "turned",
    "fps",
    "max_words",
)
ENCODER_KEYS = ("kind", "patch", "frames", "channels", "clips", "blind", "sample", "text")


@dataclasses.dataclass(frozen=True)
class Encoded:
    """A folder of stored latents.

    Attributes:
      folder: where it lies.
      told: what encoded.json says.
    """

    folder: pathlib.Path
    told: Mapping[str, Any]

    @property
    def identities(self) -> dict[str, str]:
        """Of the networks, "video" and "text" where they have published weights."""
        return dict(self.told["identities"])

    @property
    def codec(self) -> pathlib.Path:
        """The file of a fitted codec."""
        return self.folder / CODEC


def settings(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The keys of a configuration that must agree, dotted, as JSON has them."""
    pairs = {f"data.{key}": config.data[key] for key in DATA_KEYS}
    pairs |= {f"encoder.{key}": config.encoder[key] for key in ENCODER_KEYS}
    return json.loads(json.dumps(pairs))


def read(folder: str | pathlib.Path) -> Encoded:
    """Opens a folder's description.

    Raises:
      UserError: it is missing or damaged.
    """
    path = pathlib.Path(folder) / DESCRIPTION
    try:
        told = json.loads(path.read_text())
        wanted = ("settings", "data_set", "identities", "windows", "files", "instructions")
        missing = [name for name in wanted if name not in told]
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{path}: cannot be read ({error}); make it with python -m vidact.encode"
        ) from error
    if missing:
        raise UserError(f"{path}: has no {missing[0]}; run python -m vidact.encode again")
    return Encoded(path.parent, told)


def check(found: Encoded, config: ml_collections.ConfigDict, fingerprint: str) -> None:
    """Refuses what was encoded from other data or with other settings.

    Raises:
      UserError: names the first key that differs.
    """
    now, then = settings(config), found.told["settings"]
    for key in sorted({*now, *then}):
        if now.get(key) != then.get(key):
            raise UserError(
                f"{found.folder}: was encoded with config.{key}={then.get(key)!r}, now "
                f"{now.get(key)!r}; use that value or another folder"
            )
    if found.told["data_set"] != fingerprint:
        raise UserError(
            f"{found.folder}: was encoded from another data set; set config.data.root to that one, "
            "or encode this one to another folder"
        )


def files(found: Encoded) -> list[pathlib.Path]:
    """The files of the windows, as they will be called."""
    total = found.told["files"]
    return [found.folder / f"windows-{i:05d}-of-{total:05d}.safetensors" for i in range(total)]


def latents(found: Encoded) -> Sidecar:
    """The stored latents of all windows but those that could not be read.

    Raises:
      UserError: encoding has not come to its end, or a file is damaged.
    """
    missing = [path for path in files(found) if not path.is_file()]
    if missing:
        raise UserError(
            f"{found.folder}: {len(missing)} of {found.told['files']} files are not written yet; "
            "run python -m vidact.encode again, it goes on where it stopped"
        )
    stored = Sidecar(files(found))
    has, lacks = len(stored.windows), len(left_out.read(files(found)).windows)
    if has + lacks != found.told["windows"] or not has:
        raise UserError(
            f"{found.folder}: holds {has} windows and leaves out {lacks} of "
            f"{found.told['windows']}; run python -m vidact.encode again, to another folder if "
            "that does not help"
        )
    return stored


def is_whole(path: pathlib.Path, windows: Windows) -> bool:
    """Whether a file is there and holds these windows, but for those that are listed as left out.

    Its header is read, not its content.
    """
    try:
        missing = Sidecar([path]).rows(windows) < 0
        listed = left_out.read([path]).windows
    except UserError:
        return False
    lacks = windows.at(np.flatnonzero(missing))
    return np.array_equal(lacks.episodes, listed.episodes) and np.array_equal(
        lacks.starts, listed.starts
    )


def note_left_out(found: Encoded, bad: BadRecords) -> int:
    """Notes as bad records what could not be read when it was encoded; returns how many windows.

    Raises:
      UserError: config.data.on_bad_record is "error" and there are some.
    """
    left = left_out.read(files(found))
    if left.reasons and bad.policy == "error":
        raise UserError(
            f"{found.folder}: leaves out {len(left.windows)} windows that cannot be read, first "
            f"because of {left.reasons[0]}; set config.data.on_bad_record=skip, or mend the data "
            "and encode it to another folder"
        )
    for reason in left.reasons:
        bad.note(UserError(reason))
    return len(left.windows)


def has_texts(found: Encoded) -> bool:
    """Whether every instruction's embedding is there; headers are read, not the content."""
    names = {str(number) for number in range(len(found.told["instructions"]))}
    try:
        with store.reader(found.folder / TEXTS) as reader:
            return reader.shapes.keys() == names
    except UserError:
        return not names


def texts(found: Encoded) -> dict[str, np.ndarray]:
    """Embeddings [l, D], float16 or float32, by instruction; none for a model of words.

    Raises:
      UserError: the file is missing or damaged.
    """
    if not found.told["instructions"]:
        return {}
    with store.reader(found.folder / TEXTS) as reader:
        return {
            text: reader.get(str(number)) for number, text in enumerate(found.told["instructions"])
        }
