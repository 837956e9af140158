"""Augmentation: one change a clip, a pure function of its place."""

import ml_collections
import numpy as np
import pytest

from data_pipelines import augment, pipeline, sidecars
from data_pipelines.frames import Placement
from data_pipelines.sidecars import Sidecar
from tests.data_pipelines import shards
from vidact.errors import UserError

SETTINGS = ml_collections.ConfigDict(dict(zoom=0.5, brightness=0.2, contrast=0.3, saturation=0.4))


def test_draws_lie_in_their_ranges_and_differ():
    changes = [
        augment.draw(SETTINGS, Placement("crop"), (3, step, row))
        for step in range(20)
        for row in (0, 1)
    ]
    assert len(set(changes)) == 40
    for change in changes:
        assert change.placement.fit == "crop" and 0.5 <= change.placement.zoom <= 1
        assert abs(change.brightness) <= 0.2
        assert 0.7 <= change.contrast <= 1.3 and 0.6 <= change.saturation <= 1.4
    assert changes[0] == augment.draw(SETTINGS, Placement("crop"), (3, 0, 0))


def test_colours_by_hand():
    video = np.zeros((2, 1, 2, 3), np.uint8)
    video[0], video[1] = 100, 140
    augment.apply_colours(video, augment.Change(Placement(), brightness=0.1, contrast=0.5))
    # The clip's mean of 120 stays, distances halve, 25.5 is added; rounded to the nearest.
    assert set(np.unique(video[0])) == {136} and set(np.unique(video[1])) == {156}
    red = np.full((1, 1, 1, 3), (200, 0, 0), np.uint8)
    augment.apply_colours(red, augment.Change(Placement(), saturation=0.0))
    assert red.ravel().tolist() == [60, 60, 60]


def test_only_training_batches_by_step_change_and_alike_for_all_processes(tmp_path):
    root = shards.write(tmp_path, [shards.episode(i, steps=6) for i in range(8)])
    changed = shards.config(root)
    changed.augment.update(brightness=0.3)
    args = dict(seed=3, batch_size=4)
    plain = pipeline.make_dataset(shards.config(root), **args)
    whole = pipeline.make_dataset(changed, **args)
    parts = [
        pipeline.make_dataset(changed, **args, process_index=i, process_count=2) for i in range(2)
    ]
    video = whole.batch_at(5).pixels
    assert np.abs(video.astype(int) - plain.batch_at(5).pixels).max() > 5
    np.testing.assert_array_equal(video, np.concatenate([p.batch_at(5).pixels for p in parts]))
    # One change for all frames of a clip: flat greys differ from the plain ones by one number.
    moved = (video.astype(int) - plain.batch_at(5).pixels)[..., 0, 0, 0]
    assert (np.abs(moved - moved[:, :1]) <= 1).all() and len(set(moved[:, 0])) > 1
    indices = whole.indices_at(5)
    np.testing.assert_array_equal(whole.load(indices).pixels, plain.load(indices).pixels)
    held = pipeline.make_dataset(changed, **args, split="held_out")
    np.testing.assert_array_equal(
        held.batch_at(0).pixels,
        pipeline.make_dataset(shards.config(root), **args, split="held_out").batch_at(0).pixels,
    )


def stored(path, dataset, field) -> Sidecar:
    """A further field of every window."""
    windows = dataset.windows.all()
    sidecars.write(path, windows, {field: np.zeros((len(windows), 1), np.float32)})
    return Sidecar([path])


def test_stored_latents_cannot_be_augmented(tmp_path):
    config = shards.config(shards.write(tmp_path, [shards.episode(i) for i in range(3)]))
    args = dict(seed=0, batch_size=2)
    plain = pipeline.make_dataset(config, **args)
    latents = stored(tmp_path / "latents.safetensors", plain, "latents")
    coarse = stored(tmp_path / "coarse.safetensors", plain, "coarse")
    pipeline.make_dataset(config, sidecars=[latents, coarse], **args)
    config.augment.brightness = 0.2
    pipeline.make_dataset(config, sidecars=[coarse], **args)  # frames are decoded
    message = r"config\.data\.augment: changes pixels, and latents are stored.* leave it at"
    with pytest.raises(UserError, match=message):
        pipeline.make_dataset(config, sidecars=[latents, coarse], **args)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("zoom", 0.0),
        ("zoom", 1.5),
        ("brightness", -0.1),
        ("contrast", 1.1),
        ("saturation", float("nan")),
    ],
)
def test_what_cannot_be_drawn(tmp_path, key, value):
    config = shards.config(shards.write(tmp_path, [shards.episode(0), shards.episode(1)]))
    config.augment[key] = value
    with pytest.raises(UserError, match=rf"config\.data\.augment\.{key}={value}: must be"):
        pipeline.make_dataset(config, seed=0, batch_size=2)
