"""What a visibility hides is hidden exactly, in every mode; what it shows is seen."""

import re

import numpy as np
import pytest

from tests import tiny
from vidact.models.covar import leaks, visibility

LINE = re.compile(r"(\w+) (\w+): (leak|sees) (action|video)<-(future|video|action): (\S+)")


@pytest.mark.parametrize(
    "kinds",
    [
        ("action_sees_first_frame",),
        pytest.param(visibility.VISIBILITIES, marks=pytest.mark.slow, id="all"),
    ],
)
def test_nothing_leaks_in_any_visibility_and_mode(monkeypatch, capsys, kinds):
    monkeypatch.setattr(leaks, "VISIBILITIES", kinds)
    changes = {**tiny.CHANGES, "model.depth": 2, "model.decoder_channels": (32,)}
    line = ["--config", str(tiny.ROOT / "configs/base.py")]
    leaks.main(line + [f"--config.{key}={value}" for key, value in changes.items()])
    rows = [LINE.fullmatch(row).groups() for row in capsys.readouterr().out.splitlines()]
    assert {row[0] for row in rows} == set(kinds)
    moved = {(v, mode, who, what): (kind, float(x)) for v, mode, kind, who, what, x in rows}
    # Per visibility: three modes generate actions (two pairs), three the video (one).
    assert len(moved) == len(rows) == len(kinds) * (3 * 2 + 3)
    for kind, change in moved.values():
        assert change == 0 if kind == "leak" else change > 1e-4
    assert moved["action_sees_first_frame", "inverse", "action", "future"] == ("leak", 0.0)
    if len(kinds) == 1:
        return
    assert moved["separate", "joint", "video", "action"] == ("leak", 0.0)
    assert moved["joint", "policy", "action", "future"][0] == "sees"


def test_a_leak_is_told(monkeypatch, capsys):
    monkeypatch.setitem(leaks.HIDDEN, "joint", (("action", "future"),))
    changes = {**tiny.CHANGES, "model.decoder_channels": (32,)}
    line = ["--config", str(tiny.ROOT / "configs/base.py")]
    monkeypatch.setattr(leaks, "VISIBILITIES", ("joint",))
    monkeypatch.setattr(leaks.joint_time, "MODES", ("joint",))
    with pytest.raises(SystemExit) as ended:
        leaks.main(line + [f"--config.{key}={value}" for key, value in changes.items()])
    assert ended.value.code == 1
    assert "joint joint: leak action<-future: " in capsys.readouterr().out


def test_what_is_hidden_across_the_bridge():
    """Two frames of one token, then the state and an action; written by hand."""
    see = {
        "action_sees_first_frame": ["1011", "1111", "1011", "1011"],
        "action_sees_video": ["1100", "1100", "1111", "1111"],
        "video_sees_action": ["1111", "1111", "0011", "0011"],
        "separate": ["1100", "1100", "0011", "0011"],
    }
    for kind, rows in see.items():
        wanted = np.array([[c == "1" for c in row] for row in rows])
        np.testing.assert_array_equal(visibility.bias(kind, 2, 1, 2)[0] == 0, wanted)
    assert visibility.bias("joint", 2, 1, 2) is None
