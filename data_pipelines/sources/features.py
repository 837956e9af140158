"""What features.json says about the features of a step."""

from collections.abc import Mapping

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from data_pipelines.sources.recording import Feature, Kind
from vidact.errors import UserError

STEPS = "steps"


def step_features(
    folder: epath.Path, info: tfds.core.DatasetInfo
) -> tuple[dict[str, Feature], dict[str, tfds.features.Tensor]]:
    """A step's features by path ('observation/image_0'), and TFDS's own of its arrays.

    Raises:
      UserError: the data set has no steps.
    """
    if STEPS not in info.features:
        raise UserError(
            f"{folder / 'features.json'}: no '{STEPS}': not an RLDS data set; give a folder of "
            "episodes"
        )
    leaves = _flatten(info.features[STEPS].feature)
    found = {path: Feature(_kind(leaf), tuple(leaf.shape or ())) for path, leaf in leaves.items()}
    return found, {path: leaf for path, leaf in leaves.items() if found[path].kind == "array"}


def _flatten(feature, path: str = "") -> Mapping:
    if not isinstance(feature, tfds.features.FeaturesDict):
        return {path: feature}
    leaves = {}
    for name, inner in sorted(feature.items()):
        leaves.update(_flatten(inner, f"{path}/{name}" if path else name))
    return leaves


def _kind(feature) -> Kind:
    if isinstance(feature, tfds.features.Image):
        return "image"
    if not isinstance(feature, tfds.features.Tensor):
        return "other"
    if np.dtype(feature.np_dtype).kind not in "fiub":
        return "text"
    return "other" if None in feature.shape else "array"
