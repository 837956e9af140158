"""A NumPy-only leaf: instructions to word ids by hashing, the same here and on the robot.

No vocabulary is stored: a word's id is a checksum of its letters. Robot instructions use a few
hundred words, so that 1024 ids collide rarely.
"""

import unicodedata
import zlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

PADDING = 0
EMPTY = 1  # stands for an instruction without words, so that no row is masked altogether
_FIRST_WORD = 2
_LETTERS, _APOSTROPHE = "LMN", "'"  # letters of any script, their marks, digits


def tokenize(
    texts: Sequence[str], max_words: int, vocabulary: int
) -> tuple[Int[np.ndarray, "B L"], Bool[np.ndarray, "B L"]]:
    """Hashes each instruction's words of any script, without case; other signs separate words.

    Args:
      texts: B instructions; "" is allowed.
      max_words: L; words after the L-th are dropped.
      vocabulary: number of ids, at least 3.

    Returns:
      ids, int32 [B, L] in [0, vocabulary), 0 = padding; mask, bool [B, L], True = a word.
    """
    ids = np.full((len(texts), max_words), PADDING, np.int32)
    for row, text in zip(ids, texts, strict=True):
        words = _words(text)[:max_words]
        row[: len(words)] = [_word_id(word, vocabulary) for word in words]
        if not words:
            row[0] = EMPTY
    return ids, ids != PADDING


def _words(text: str) -> list[str]:
    """Letters that look alike but are stored in another way are the same (NFKC)."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "".join(sign if _in_word(sign) else " " for sign in plain).split()


def _in_word(sign: str) -> bool:
    return sign == _APOSTROPHE or unicodedata.category(sign)[0] in _LETTERS


def _word_id(word: str, vocabulary: int) -> int:
    return _FIRST_WORD + zlib.crc32(word.encode()) % (vocabulary - _FIRST_WORD)
