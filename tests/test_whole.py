"""A file is there whole or not at all."""

import pytest

from vidact import whole


def test_what_is_written_replaces_what_was_there(tmp_path):
    path = tmp_path / "new" / "a.txt"
    for shared in (False, True):
        for text in ("eins", "zwei — 二"):
            whole.write(path, text, shared)
            assert path.read_text(encoding="utf-8") == text
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path):
    path = tmp_path / "a.bin"
    whole.write(path, b"old")
    with pytest.raises(KeyboardInterrupt):
        _interrupted(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def _interrupted(path):
    with whole.replacing(path) as partial:
        partial.write_bytes(b"half")
        assert path.read_bytes() == b"old"
        raise KeyboardInterrupt


def test_nobody_sees_half_a_file(tmp_path):
    path = tmp_path / "a.txt"
    with whole.replacing(path) as partial:
        partial.write_text("all of it")
        assert not path.exists()
    assert path.read_text() == "all of it"
