"""Fields of a serialized RLDS episode, read straight from the flat tf.train.Example.

TFDS stores an episode's steps as one list per feature ('steps/action' holds n * A floats). Taking
the wanted lists costs a twentieth of TFDS's own decoding, which also unpacks every other camera.
"""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Shaped
from tensorflow_datasets.proto import tf_example_pb2

from data_pipelines.sources import checks
from vidact.errors import UserError

_METADATA = "episode_metadata/"
_REMEDY = "write the episode again"


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

    def numbers(self, key: str, feature: tfds.features.Tensor) -> Shaped[np.ndarray, "n ..."]:
        """A numeric feature: float32, or integers as stored.

        Raises:
          UserError: missing, of another type, of a length that its shape does not divide, or not
            finite as float32.
        """
        if self._kind(key) == "bytes_list":
            flat = self._unpacked(key, feature)
        else:
            flat = self._listed(key, np.dtype(feature.np_dtype))
        width = int(np.prod(feature.shape))
        if width == 0 or flat.size % width:
            raise UserError(
                f"{self.where}: {key} has {flat.size} numbers, which steps of shape "
                f"{tuple(feature.shape)} do not divide; {_REMEDY}"
            )
        values = flat.reshape(-1, *feature.shape)
        is_float = values.dtype.kind == "f"
        return checks.as_float32(values, f"{self.where}: {key}") if is_float else values

    def _listed(self, key: str, dtype: np.dtype) -> np.ndarray:
        """All steps' numbers, made flat."""
        kind = self._kind(key) if dtype.kind == "f" else "int64_list"  # no fraction is cut off
        values = self._values(key, kind)
        try:
            return np.asarray(values, dtype)
        except OverflowError as error:
            limits = np.iinfo(dtype)
            wrong = next(value for value in values if not limits.min <= value <= limits.max)
            raise UserError(
                f"{self.where}: {key} holds {wrong}, which is no {dtype}; {_REMEDY}"
            ) from error

    def _unpacked(self, key: str, feature: tfds.features.Tensor) -> np.ndarray:
        """Steps that TFDS stored as bytes (encoding 'bytes' or 'zlib'), made flat."""
        dtype, steps = np.dtype(feature.np_dtype), self.texts(key)
        size = int(np.prod(feature.shape)) * dtype.itemsize
        if feature.encoding is tfds.features.Encoding.ZLIB:
            try:  # never more than a step may hold, and one byte that shows that there is more
                steps = [zlib.decompressobj().decompress(step, size + 1) for step in steps]
            except zlib.error as error:
                raise UserError(f"{self.where}: {key}: {error}; {_REMEDY}") from error
        if any(len(step) != size for step in steps):
            raise UserError(f"{self.where}: {key} has a step of not {size} bytes; {_REMEDY}")
        return np.frombuffer(b"".join(steps), dtype)

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
