"""Texts of a converted shard: each stands there once, and steps name it by its number."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

import google_crc32c
import numpy as np
from jaxtyping import Int, Shaped

BYTES, ENDS, KINDS = "texts", "text_ends", "text_is_str"
Text = bytes | str


@runtime_checkable
class Parts(Protocol):
    """What gives rows of tensors: `vidact.store.Reader`, `tensors.Rows`."""

    def part(self, name: str, index: Any) -> np.ndarray: ...


class TextTable:
    """Collects texts on writing; bytes and str stay what they are."""

    def __init__(self) -> None:
        self._numbers: dict[Text, int] = {}
        self._texts: list[Text] = []

    def numbers(self, texts: Iterable[Text]) -> Int[np.ndarray, " n"]:
        """The numbers of some texts; those that are new get one."""
        found = [self._numbers.setdefault(text, len(self._numbers)) for text in texts]
        self._texts += list(self._numbers)[len(self._texts) :]
        return np.array(found, np.int32)

    def named(self, numbers: Int[np.ndarray, " n"]) -> dict[int, Text]:
        """The texts of some numbers."""
        return {number: self._texts[number] for number in sorted(set(numbers.tolist()))}

    def arrays(self) -> dict[str, np.ndarray]:
        """What `read` needs, by name."""
        encoded = [encode(text) for text in self._texts]
        return {
            BYTES: np.frombuffer(b"".join(encoded), np.uint8),
            ENDS: np.cumsum([0, *map(len, encoded)], dtype=np.int64),
            KINDS: np.array([isinstance(text, str) for text in self._texts], bool),
        }


def read(reader: Parts, numbers: Int[np.ndarray, " n"]) -> dict[int, Text]:
    """The texts of some numbers; no other is read."""
    return {number: _one(reader, number) for number in sorted(set(numbers.tolist()))}


def check(values: Shaped[np.ndarray, "n ..."], table: Mapping[int, Text]) -> int:
    """crc32c of some rows, which name texts of the table where it is not empty."""
    crc = google_crc32c.value(values.tobytes())
    for number in sorted(table):
        text = table[number]
        crc = google_crc32c.extend(crc, (b"s" if isinstance(text, str) else b"b") + encode(text))
    return crc


def encode(text: Text) -> bytes:
    """The bytes of a text; a str that is no proper Unicode survives."""
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text


def _one(reader: Parts, number: int) -> Text:
    begin, end = reader.part(ENDS, slice(number, number + 2)).tolist()
    # safetensors refuses empty slices.
    encoded = reader.part(BYTES, slice(begin, end)).tobytes() if end > begin else b""
    is_str = bool(reader.part(KINDS, slice(number, number + 1))[0])
    return encoded.decode("utf-8", "surrogatepass") if is_str else encoded
