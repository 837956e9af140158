"""Rows as views: every published mixture can be seen through them."""

import numpy as np
import pytest

from data_pipelines.oxe.mixtures import MIXTURES
from data_pipelines.oxe.registry import TABLE, find
from data_pipelines.oxe.view import RowView
from data_pipelines.sources.recording import Recording, StoredFrames
from tests.data_pipelines.oxe import fakes
from vidact.errors import UserError

ANY = ("primary|secondary|wrist",)


@pytest.mark.parametrize("name", MIXTURES)
def test_every_data_set_of_a_mixture_has_a_camera_and_a_meaning(name):
    for member in MIXTURES[name].weights:
        row = find(member)
        view = RowView(row, ANY)
        (path,) = view.cameras.values()
        assert path and path in view.paths and row.text in view.paths
        targets = set(range(row.action_width)) - set(view.deltas)
        if row.motion.encoding == "eef_delta":
            assert targets == {6} and view.gripper == (6 if row.gripper else None)
        if row.motion.encoding == "joint_absolute":
            assert not view.deltas and view.gripper is None


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_an_episode_is_as_long_as_stated_and_its_frames_are_those_of_its_steps(row):
    view = RowView(row, ANY)
    (path,) = view.cameras.values()
    steps = 25
    recording = Recording(
        index=3,
        name="here",
        features=fakes.episode(row, steps=steps),
        cameras={path: StoredFrames([bytes([i]) for i in range(steps)])},
        steps=steps,
    )
    episode = view.episode(recording)
    (frames,) = episode.cameras.values()
    assert len(episode) == len(frames) == view.length(steps) == len(episode.instructions)
    assert episode.actions.shape == (len(episode), row.action_width)
    first = np.arange(steps)[row.drop_first :: row.every]
    kept = first[: len(first) - row.drop_last]
    assert [frame[0] for frame in frames.read(range(len(frames)))] == kept.tolist()
    assert [view.length(n) for n in range(3)] == [
        max(len(range(row.drop_first, n, row.every)) - row.drop_last, 0) for n in range(3)
    ]


def test_cameras_that_are_not_there():
    row = find("berkeley_mvp_converted_externally_to_rlds")  # a wrist camera only
    assert RowView(row, ("primary|wrist", "secondary")).cameras["secondary"] == ""
    with pytest.raises(UserError, match=r"has wrist only; put that first, or after a \|"):
        RowView(row, ("primary", "wrist"))
    with pytest.raises(UserError, match="'front': choose from primary, secondary, wrist"):
        RowView(row, ("primary|front",))
