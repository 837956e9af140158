"""Hashes of what an episode holds, whatever file it lies in."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Shaped

from data_pipelines.sources import texts

SIZE = 32


def of_episode(
    features: Mapping[str, Shaped[np.ndarray, "n ..."]],
    cameras: Mapping[str, Sequence[bytes | memoryview]],
) -> bytes:
    """SHA-256 of an episode: names, dtypes, shapes and bytes of everything in it.

    Args:
      features: numbers, or object arrays of texts, by path.
      cameras: frames' files by path.
    """
    digest = hashlib.sha256()
    for path in sorted(features):
        values = features[path]
        kind = "text" if values.dtype == object else values.dtype.str
        digest.update(f"{path} {kind} {values.shape}\n".encode())
        digest.update(_bytes(values))
    for path in sorted(cameras):
        digest.update(f"{path} {list(map(len, cameras[path]))}\n".encode())
        for file in cameras[path]:
            digest.update(file)
    return digest.digest()


def of_data_set(episodes: Iterable[bytes]) -> str:
    """SHA-256, in hexadecimal, of the episodes' digests in their order."""
    return hashlib.sha256(b"".join(episodes)).hexdigest()


def _bytes(values: np.ndarray) -> bytes:
    if values.dtype != object:
        return values.tobytes()
    encoded = [(isinstance(text, str), texts.encode(text)) for text in values.tolist()]
    head = " ".join(f"{'s' if is_str else 'b'}{len(text)}" for is_str, text in encoded)
    return b"\n".join([head.encode(), *(text for _, text in encoded)])
