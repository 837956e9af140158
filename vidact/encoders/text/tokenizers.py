"""Texts to token ids with a tokenizer's own files from a local folder; nothing is downloaded."""

import importlib
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from vidact.errors import UserError

# What CLIP's merges work on: contractions, runs of letters, single digits, runs of other signs.
_CLIP_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
_CLIP_BOS, _CLIP_EOS = "<|startoftext|>", "<|endoftext|>"


class Tokenizer:
    """Ids of a fixed length; make one with `load`.

    Attributes:
      length: L, special tokens included.
      size: number of ids.
      pad: the id of padding.
    """

    def __init__(
        self,
        encode: Callable[[str], list[int]],
        decode: Callable[[list[int]], str],
        *,
        size: int,
        pad: int,
        length: int,
    ):
        """Takes over a library's `encode`, which ends each text, and its inverse."""
        self.length, self.size, self.pad = length, size, pad
        self._encode, self._decode = encode, decode

    def __call__(
        self, texts: Sequence[str]
    ) -> tuple[Int[np.ndarray, "B L"], Bool[np.ndarray, "B L"]]:
        """Tokens of B texts, cut so that the end token stays, and padded at the end.

        Returns:
          ids, int32 [B, L]; mask, bool [B, L], True = no padding (the end token counts).
        """
        ids = np.full((len(texts), self.length), self.pad, np.int32)
        mask = np.zeros((len(texts), self.length), bool)
        for row, text in enumerate(texts):
            found = self._encode(text)
            if len(found) > self.length:
                found = [*found[: self.length - 1], found[-1]]
            ids[row, : len(found)] = found
            mask[row, : len(found)] = True
        return ids, mask

    def text(self, ids: Sequence[int] | Int[np.ndarray, "L"]) -> str:
        """The text of one row of ids, special tokens left out."""
        return self._decode([int(i) for i in ids])


def load(folder: str | pathlib.Path, length: int) -> Tokenizer:
    """The tokenizer whose files lie in a folder as Hugging Face names them.

    Args:
      folder: with `spiece.model` (T5), else `tokenizer.json`, else CLIP's `vocab.json` and
        `merges.txt`. All but `spiece.model` need `tokenizer_config.json` or
        `special_tokens_map.json` too, for the name of the padding.
      length: L of what it returns: 300 for Open-Sora's T5, 226 for CogVideoX's, 77 for CLIP.

    Raises:
      UserError: a file is missing or unreadable, or the tokenizers' packages are not installed.
    """
    folder = pathlib.Path(folder)
    if (path := folder / "spiece.model").is_file():
        return _sentencepiece(path, length)
    if (path := folder / "tokenizer.json").is_file():
        return _padded(_from_file(path), folder, length)
    if (path := folder / "vocab.json").is_file():
        return _padded(_clip(path, folder / "merges.txt"), folder, length)
    raise UserError(
        f"{folder}: neither spiece.model nor tokenizer.json nor vocab.json with merges.txt is "
        "there; copy the tokenizer's files into it"
    )


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
      UserError: it is missing or damaged.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; copy it from where the weights came from")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: {error}; copy the file again") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: holds no JSON object; copy the file again")
    return found


def _library(name: str) -> Any:
    """A package that only those need who tokenize for T5 or CLIP."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"{name}: not installed; run `pip install vidact[text]`") from error


def _sentencepiece(path: pathlib.Path, length: int) -> Tokenizer:
    """T5's tokenizer: </s> ends each text, nothing begins it."""
    library = _library("sentencepiece")
    try:
        model = library.SentencePieceProcessor(model_file=str(path), add_eos=True)
    except Exception as error:  # the library knows no narrower one
        raise UserError(f"{path}: no sentencepiece model; copy it again") from error
    if min(model.pad_id(), model.eos_id()) < 0:
        raise UserError(f"{path}: has no padding or no end of a text; take the model of a T5")
    size, pad = model.vocab_size(), model.pad_id()
    return Tokenizer(model.encode, model.decode, size=size, pad=pad, length=length)


def _from_file(path: pathlib.Path) -> Any:
    library = _library("tokenizers")
    try:
        return library.Tokenizer.from_file(str(path))
    except Exception as error:  # the library knows no narrower one
        raise UserError(f"{path}: {error}; copy the file again") from error


def _padded(rust: Any, folder: pathlib.Path, length: int) -> Tokenizer:
    """A `tokenizers.Tokenizer`, padded with the token that the files beside it name."""
    name = _padding(folder)
    pad = rust.token_to_id(name)
    if pad is None:
        raise UserError(f"{folder}: {name!r} is to pad but has no id; take files of one model")
    rust.no_truncation()
    rust.no_padding()
    size = rust.get_vocab_size()
    return Tokenizer(
        lambda text: rust.encode(text).ids, rust.decode, size=size, pad=pad, length=length
    )


def _padding(folder: pathlib.Path) -> str:
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).is_file():
            token = read_json(folder / name).get("pad_token")
            if token is not None:
                return token["content"] if isinstance(token, dict) else token
    raise UserError(
        f"{folder}: no file names the pad_token; copy tokenizer_config.json or "
        "special_tokens_map.json into it"
    )


def _clip(vocabulary: pathlib.Path, merges: pathlib.Path) -> Any:
    """CLIP's lower-cased byte pairs between a token of the start and one of the end."""
    library = _library("tokenizers")
    if not merges.is_file():
        raise UserError(f"{merges}: no such file; vocab.json is of no use without it, copy it")
    kinds, before = library.normalizers, library.pre_tokenizers
    try:
        model = library.models.BPE.from_file(
            str(vocabulary), str(merges), unk_token=_CLIP_EOS, end_of_word_suffix="</w>"
        )
    except Exception as error:  # the library knows no narrower one
        raise UserError(f"{vocabulary}: {error}; copy it and merges.txt again") from error
    rust = library.Tokenizer(model)
    spaces = kinds.Replace(library.Regex(r"\s+"), " ")
    rust.normalizer = kinds.Sequence([kinds.NFC(), spaces, kinds.Lowercase()])
    words = before.Split(library.Regex(_CLIP_WORDS), "removed", invert=True)
    rust.pre_tokenizer = before.Sequence([words, before.ByteLevel(add_prefix_space=False)])
    rust.decoder = library.decoders.ByteLevel()
    ends = {token: rust.token_to_id(token) for token in (_CLIP_BOS, _CLIP_EOS)}
    if missing := [token for token, number in ends.items() if number is None]:
        raise UserError(f"{vocabulary}: has no {missing[0]}; take the tokenizer of a CLIP model")
    rust.post_processor = library.processors.TemplateProcessing(
        single=f"{_CLIP_BOS} $A {_CLIP_EOS}", special_tokens=list(ends.items())
    )
    rust.add_special_tokens(list(ends))
    return rust
