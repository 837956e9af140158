"""Tokenizers read their own files, pad and cut to one length, and say which file is missing."""

import json
import pathlib
import sys

import numpy as np
import pytest
import tokenizers as library

from vidact.encoders.text import tokenizers
from vidact.errors import UserError

# A model that sentencepiece trained, with rules of its own for normalising, and what it spells.
GOLDEN = pathlib.Path(__file__).parents[1] / "goldens/videovla/tokenizer"
PAD, EOS, UNKNOWN = 0, 1, 2
SENTENCES = ["pick up the red block", "put the blue cup on the plate", "open the top drawer"] * 20


@pytest.fixture(scope="module")
def t5():
    return tokenizers.load(GOLDEN, 24)


def test_ids_are_sentencepieces(t5):
    wanted = json.loads((GOLDEN / "spiece_ids.json").read_text())
    ids, mask = t5(list(wanted))
    assert ids.dtype == np.int32 and mask.dtype == bool and ids.shape == mask.shape == (9, 24)
    for row, seen, (text, spelled) in zip(ids, mask, wanted.items(), strict=True):
        assert row[seen].tolist() == spelled, text
        assert seen.sum() == len(spelled)
        assert (row[len(spelled) :] == PAD).all()
    assert UNKNOWN in wanted["Pick up 12 cups!"]


def test_t5_comes_back_as_text(t5):
    ids, _ = t5(["  pick up   the red block ", ""])
    assert [t5.text(row) for row in ids] == ["pick up the red block", ""]
    assert (t5.length, t5.size, t5.pad) == (24, 60, PAD)


def test_long_texts_are_cut_before_the_end_token(t5):
    text = "pick up the red block"
    whole = t5([text])[0][0]
    ids, mask = tokenizers.load(GOLDEN, 4)([text])
    assert ids[0].tolist() == [*whole[:3], EOS]
    assert mask.all()
    # One that just fits loses nothing.
    ids, mask = tokenizers.load(GOLDEN, 6)([text])
    assert ids[0].tolist() == whole[:6].tolist() and ids[0, 5] == EOS and mask.all()


def test_no_texts_give_no_rows(t5):
    ids, mask = t5([])
    assert ids.shape == mask.shape == (0, 24)


@pytest.fixture
def trained(tmp_path):
    """A tokenizer.json of whole words, trained by the library, which ends texts with <e>."""
    rust = library.Tokenizer(library.models.WordLevel(unk_token="<u>"))
    rust.pre_tokenizer = library.pre_tokenizers.Whitespace()
    special = ["<p>", "<e>", "<u>"]
    rust.train_from_iterator(
        SENTENCES, library.trainers.WordLevelTrainer(special_tokens=special, show_progress=False)
    )
    rust.post_processor = library.processors.TemplateProcessing(
        single="$A <e>", special_tokens=[("<e>", 1)]
    )
    rust.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"pad_token": {"content": "<p>"}}))
    return tmp_path


def test_a_tokenizer_json(trained):
    tokenizer = tokenizers.load(trained, 8)
    ids, mask = tokenizer(["pick up the red block", "throw the cup", "the " * 9])
    assert mask.sum(1).tolist() == [6, 4, 8]
    assert ids[0, 5] == ids[1, 3] == ids[2, 7] == 1
    assert ids[1, 0] == 2 and ids[1, 1] == ids[0, 2] == ids[2, 0] == 3  # the commonest word
    assert (ids[~mask] == 0).all()
    assert [tokenizer.text(row) for row in ids[:2]] == ["pick up the red block", "the cup"]


def clip_files(folder):
    """Byte pairs of two words, written by hand as CLIP's files are."""
    letters = ["l", "o", "w", "e", "r", "'", "s", "2"]
    merges = ["l o", "lo w</w>", "e r</w>", "lo w", "' s</w>"]
    pieces = letters + [f"{x}</w>" for x in letters] + [m.replace(" ", "") for m in merges]
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({p: i for i, p in enumerate(pieces)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    (folder / "special_tokens_map.json").write_text(json.dumps({"pad_token": "<|endoftext|>"}))
    return pieces


def test_clips_two_files(tmp_path):
    pieces = clip_files(tmp_path)
    tokenizer = tokenizers.load(tmp_path, 10)
    ids, mask = tokenizer(["LOW  lower\n", "low's22", "", "low " * 20])
    start, end = "<|startoftext|>", "<|endoftext|>"
    spelled = [[pieces[i] for i in row[seen]] for row, seen in zip(ids, mask)]
    assert spelled[0] == [start, "low</w>", "low", "er</w>", end]
    assert spelled[1] == [start, "low</w>", "'s</w>", "2</w>", "2</w>", end]
    assert spelled[2] == [start, end]
    assert spelled[3] == [start, *["low</w>"] * 8, end]
    assert (ids[~mask] == pieces.index(end)).all() and tokenizer.pad == pieces.index(end)


@pytest.mark.parametrize(
    ("left_out", "told"),
    [
        ("vocab.json", "neither spiece.model nor tokenizer.json nor vocab.json"),
        ("merges.txt", r"merges\.txt: no such file"),
        ("special_tokens_map.json", "no file names the pad_token"),
    ],
)
def test_a_missing_file_is_named(tmp_path, left_out, told):
    clip_files(tmp_path)
    (tmp_path / left_out).unlink()
    with pytest.raises(UserError, match=told) as error:
        tokenizers.load(tmp_path, 10)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", b"{}"),
        ("tokenizer.json", b"not JSON"),
        ("spiece.model", b"\xff\xff not a protocol buffer"),
        ("spiece.model", (GOLDEN / "spiece.model").read_bytes()[:-100]),
        ("spiece.model", b""),
        ("vocab.json", b"{"),
    ],
)
def test_damaged_files_are_refused_in_one_line(tmp_path, name, content):
    if name == "vocab.json":
        clip_files(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name}: ") as error:
        tokenizers.load(tmp_path, 10)
    assert "\n" not in str(error.value)


def test_a_padding_token_of_another_model_is_refused(tmp_path):
    clip_files(tmp_path)
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"pad_token": "[PAD]"}))
    with pytest.raises(UserError, match=r"'\[PAD\]' is to pad but has no id"):
        tokenizers.load(tmp_path, 10)


def test_without_the_package_the_remedy_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(UserError, match=r"pip install vidact\[text\]"):
        tokenizers.load(GOLDEN, 10)
