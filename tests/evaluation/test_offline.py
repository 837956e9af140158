"""Held-out numbers of a real, untrained run."""

import numpy as np

from data_pipelines.windows import split_episodes
from vidact.evaluation import offline, opening, sampling
from vidact.evaluation.metrics import psnr


def test_numbers_per_task_on_the_chosen_windows(run, dataset):
    found = offline.measure(run, dataset)
    groups = opening.windows_by_task(dataset)
    assert set(found.action_errors) == set(groups) and found.windows == 4
    for task, windows in groups.items():
        batch = dataset.load(opening.spread(windows, 4 // len(groups)))
        truth = sampling.in_robot_units(run, batch.actions, batch.dataset_id)[batch.action_mask]
        errors = found.action_errors[task]
        np.testing.assert_allclose(errors["hold_still"], np.abs(truth).mean(), rtol=1e-5)
        assert errors["model"] > errors["hold_still"]


def test_the_codec_is_measured_on_the_same_windows(run, dataset):
    found = offline.measure(run, dataset)
    batch = dataset.load(
        np.concatenate(
            [opening.spread(windows, 2) for windows in opening.windows_by_task(dataset).values()]
        )
    )
    restored = sampling.reconstruct(run, batch.video)
    expected = psnr.psnr(restored, batch.video, psnr.valid(batch.video, batch.frame_mask))
    np.testing.assert_allclose(found.codec_psnr_db, expected.mean(), rtol=1e-6)
    assert found.psnr_gain_db < 0 and np.isfinite(found.moving_psnr_gain_db)


def test_the_mean_action_is_that_of_the_measured_data_sets_training_episodes(gripper):
    dataset = opening.held_out(gripper)
    assert dataset.statistics[1]["action"].mean[2] == 0  # as normalising leaves it alone
    begin = int(dataset.source.begins[1])
    training, _ = split_episodes(5, dataset.config.held_out)
    actions = [dataset.source.episode(begin + int(i)).actions for i in training]
    mean = np.concatenate(actions).mean(0)
    assert mean[2] > 0.5
    found = offline.measure(gripper, dataset)
    groups = opening.windows_by_task(dataset)
    for task, chosen in groups.items():
        batch = dataset.load(opening.spread(chosen, 4 // len(groups)))
        truth = sampling.in_robot_units(gripper, batch.actions, batch.dataset_id)[..., :3]
        error = np.abs(truth - mean)[batch.action_mask[..., :3]].mean()
        np.testing.assert_allclose(found.action_errors[task]["mean_action"], error, rtol=1e-5)
