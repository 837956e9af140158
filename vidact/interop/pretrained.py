"""Imported weights into a fresh training state, each device reading only its part."""

import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from vidact import store
from vidact.errors import UserError
from vidact.interop import names
from vidact.interop.export_weights import read_description
from vidact.nn import lora

VIDEO = "opensora-stdit3"


def video_branch(
    folder: str | pathlib.Path, fresh: Mapping[str, jax.Array]
) -> dict[str, jax.Array]:
    """STDiT3's weights for CoVAR's video branch and its null text, by path.

    Args:
      folder: what `vidact.interop.import_weights --from opensora-stdit3` wrote.
      fresh: the state's parameters by path, whose shardings and dtypes the result takes.

    Raises:
      UserError: the folder holds another network, or one of other sizes.
    """
    folder = pathlib.Path(folder)
    kind = read_description(folder)["network"]
    if kind != VIDEO:
        raise UserError(f"{folder}: holds {kind}; the video branch starts from {VIDEO}")
    branch = {k: v for k, v in fresh.items() if k.startswith("video/") or k == "y_embedding"}
    wanted = {k: v for k, v in branch.items() if not lora.is_factor(k)}
    with store.reader(folder) as found:
        names.check_names(found.shapes, {path: value.shape for path, value in wanted.items()})

        def read(path: str, value: jax.Array) -> jax.Array:
            def part(index: Any) -> np.ndarray:
                return found.part(path, index).astype(value.dtype)

            return jax.make_array_from_callback(value.shape, value.sharding, part)

        return {path: read(path, value) for path, value in wanted.items()}
