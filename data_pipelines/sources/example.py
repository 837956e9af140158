"""Fields of a serialized RLDS episode, read straight from the flat tf.train.Example.

TFDS stores an episode's steps as one list per feature ('steps/action' holds n * A floats). Taking
the wanted lists costs a twentieth of TFDS's own decoding, which also unpacks every other camera.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from tensorflow_datasets.proto import tf_example_pb2

from vidact.errors import UserError

_METADATA = "episode_metadata/"


class Example:
    """One parsed record; `where` names its file and record in every error."""

    def __init__(self, record: bytes, where: str):
        """Raises: UserError: the record is no Example."""
        self.where = where
        try:
            self._features = tf_example_pb2.Example.FromString(record).features.feature
        except Exception as error:  # protobuf's DecodeError differs between its backends
            raise UserError(
                f"{where}: not a TFDS record ({type(error).__name__}); write the data set again"
            ) from error

    def texts(self, key: str) -> list[bytes]:
        """A bytes feature, one entry a step (frames, instructions)."""
        return list(self._values(key, "bytes_list"))

    def numbers(self, key: str, steps: int, shape: Sequence[int]) -> Float[np.ndarray, "n D"]:
        """A numeric feature as float32 [steps, D], each step's `shape` made flat.

        Raises:
          UserError: missing, of another length than steps times shape, or not finite.
        """
        kind = self._kind(key)
        if kind == "bytes_list":
            raise UserError(
                f"{self.where}: {key} is stored as encoded bytes; write it with encoding none"
            )
        flat = np.asarray(self._values(key, kind), np.float32)
        width = int(np.prod(shape))
        if flat.size != steps * width:
            raise UserError(
                f"{self.where}: {key} has {flat.size} numbers where {steps} steps of shape "
                f"{tuple(shape)} need {steps * width}; write the episode again"
            )
        values = flat.reshape(steps, width)
        self._check_finite(key, values)
        return values

    def metadata(self) -> Mapping[str, object]:
        """The episode's own facts: str, number or float32/int64 array, by name."""
        names = [key for key in self._features if key.startswith(_METADATA)]
        return {name.removeprefix(_METADATA): self._fact(name) for name in sorted(names)}

    def _fact(self, key: str) -> object:
        kind = self._kind(key)
        values = self._values(key, kind)
        if kind == "bytes_list":
            facts: Sequence | np.ndarray = [value.decode("utf-8", "replace") for value in values]
        else:
            facts = np.asarray(values, np.float32 if kind == "float_list" else np.int64)
        return facts[0] if len(facts) == 1 else facts

    def _kind(self, key: str) -> str:
        kind = self._features[key].WhichOneof("kind") if key in self._features else None
        if kind is None:
            known = ", ".join(sorted(self._features))
            raise UserError(f"{self.where}: no {key}; the record holds {known}")
        return kind

    def _values(self, key: str, kind: str) -> Sequence:
        if self._kind(key) != kind:
            raise UserError(
                f"{self.where}: {key} is a {self._kind(key)}, not a {kind}; set another key"
            )
        return getattr(self._features[key], kind).value

    def _check_finite(self, key: str, values: np.ndarray) -> None:
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            step, dimension = bad[0]
            raise UserError(
                f"{self.where}: {key} at step {step}, dimension {dimension} is "
                f"{values[step, dimension]}; mend or remove the episode"
            )
