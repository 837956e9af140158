"""Real training processes, killed with SIGKILL, end where an undisturbed one does."""

import pytest

from tests import soak


def test_a_kill_inside_a_checkpoint_changes_nothing(own_programs, tmp_path, capsys):
    assert soak.soak(tmp_path, kills=1, steps=16, seed=0)
    printed = capsys.readouterr().out
    assert "killed while writing" in printed
    assert "bitwise equal: yes" in printed


@pytest.mark.slow
def test_three_kills_change_nothing(own_programs, tmp_path):
    assert soak.soak(tmp_path, kills=3, steps=120, seed=1)
