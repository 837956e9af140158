"""Stored latents and text embeddings of a data set: the folder that `vidact.encode` writes.

encoded.json                       what was encoded, with what, and the instructions
windows-00000-of-00012.safetensors latents, condition, latent_mask (`data_pipelines.sidecars`)
texts.safetensors                  one tensor [l, D] per instruction, by its number
video_codec.safetensors            where the codec was fitted to the data
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_collections
import numpy as np

from data_pipelines.sidecars import Sidecar
from vidact import store
from vidact.errors import UserError

DESCRIPTION, TEXTS, CODEC = "encoded.json", "texts.safetensors", "video_codec.safetensors"
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
        wanted = ("settings", "data_set", "identities", "files", "instructions")
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
    """The stored latents of all windows.

    Raises:
      UserError: encoding has not come to its end.
    """
    missing = [path for path in files(found) if not path.is_file()]
    if missing:
        raise UserError(
            f"{found.folder}: {len(missing)} of {found.told['files']} files are not written yet; "
            "run python -m vidact.encode again, it goes on where it stopped"
        )
    return Sidecar(files(found))


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
