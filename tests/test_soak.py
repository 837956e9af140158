"""Real training processes, killed with SIGKILL, end where an undisturbed one does."""

import pytest

from tests import soak


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """The processes share a compilation cache: each would compile the same programs."""
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "programs"))
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")


def test_a_kill_inside_a_checkpoint_changes_nothing(quick, tmp_path, capsys):
    assert soak.soak(tmp_path, kills=1, steps=16, seed=0)
    printed = capsys.readouterr().out
    assert "killed while writing" in printed
    assert "bitwise equal: yes" in printed


@pytest.mark.slow
def test_three_kills_change_nothing(quick, tmp_path):
    assert soak.soak(tmp_path, kills=3, steps=120, seed=1)
