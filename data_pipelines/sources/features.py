"""What features.json says about the features of a step."""

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from vidact.errors import UserError

_STEPS = "steps"


class StepFeatures:
    """A step's features by path ('observation/image_0'), each an image, an array or a text."""

    def __init__(self, folder: epath.Path, info: tfds.core.DatasetInfo):
        """Raises: UserError: the data set has no steps."""
        self._file = folder / "features.json"
        if _STEPS not in info.features:
            raise UserError(
                f"{self._file}: no '{_STEPS}': not an RLDS data set; give a folder of episodes"
            )
        self._features = _flatten(info.features[_STEPS].feature)

    def image_shape(self, key: str) -> tuple[int | None, int | None]:
        """Height and width of a camera's frames, None where they vary.

        Raises:
          UserError: no such image; lists which exist.
        """
        shape = self._find(key, "image").shape
        return shape[0], shape[1]

    def array_shape(self, key: str) -> tuple[int, ...]:
        """Shape of a numeric feature.

        Raises:
          UserError: no such array, or its shape varies.
        """
        shape = tuple(self._find(key, "array").shape)
        if None in shape:
            raise UserError(f"{self._file}: {key} has no fixed shape {shape}; choose another key")
        return shape

    def check_text(self, key: str) -> None:
        """Raises: UserError: no such text."""
        self._find(key, "text")

    def _find(self, key: str, kind: str):
        feature = self._features.get(key)
        if feature is not None and _kind(feature) == kind:
            return feature
        fits = [name for name, other in self._features.items() if _kind(other) == kind]
        found = f"no {key} in a step" if feature is None else f"{key} is no {kind}"
        raise UserError(
            f"{self._file}: {found}; set the key in config.data to one of its {kind} keys: "
            f"{', '.join(fits) or 'none'}"
        )


def _flatten(feature, path: str = "") -> dict[str, object]:
    if not isinstance(feature, tfds.features.FeaturesDict):
        return {path: feature}
    leaves: dict[str, object] = {}
    for name, inner in sorted(feature.items()):
        leaves.update(_flatten(inner, f"{path}/{name}" if path else name))
    return leaves


def _kind(feature) -> str:
    if isinstance(feature, tfds.features.Image):
        return "image"
    if not isinstance(feature, tfds.features.Tensor):
        return "other"
    return "array" if np.dtype(feature.np_dtype).kind in "fiub" else "text"
