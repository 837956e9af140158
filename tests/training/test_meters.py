"""Tokens, FLOPs and peaks behind a log line, and what counts as useful time."""

import jax
import numpy as np
import pytest

from tests import tiny
from vidact.training import chips, example, flops, meters


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return tiny.config(tmp_path_factory.mktemp("none"), model__decoder_channels=(16,))


def test_a_step_s_tokens_and_flops_follow_from_its_batch(config):
    # 5 frames are 2 latents of 4 x 4, in patches of 2 x 2; 4 actions and a state; 8 samples.
    batch, codec = example.batch(config).as_dict(), example.codec(config)
    found = meters.work(config, batch, codec)
    assert found.tokens == 8 * (2 * 4 + 4 + 1)
    assert found.flops == flops.training_step(config).model
    half = {name: value[:4] for name, value in batch.items()}
    again = meters.work(config, half, codec)
    assert again.tokens == found.tokens / 2
    assert again.flops == pytest.approx(found.flops / 2, rel=0.05)


def test_only_accepted_steps_are_useful(config):
    batch, codec = example.batch(config).as_dict(), example.codec(config)
    meter = meters.Meter(config, jax.devices())
    for _ in range(2):
        with meter.step(batch):
            pass
    nothing = meter.line(batch, codec, skipped=2)
    assert nothing["goodput"] == 0
    rate = nothing["steps/s"]
    assert nothing["seconds"] == pytest.approx(1 / rate)
    assert nothing["tokens/s"] == pytest.approx(8 * 13 * rate)
    with meter.step(batch):
        np.linalg.svd(np.eye(50))
    later = meter.line(batch, codec, skipped=0)
    assert 0 < later["goodput"] < 1
    assert "MFU" not in later


def test_peaks_are_those_of_the_data_sheets():
    assert chips.peak("NVIDIA H100 80GB HBM3") == 989e12
    assert chips.peak("NVIDIA H100 PCIe") == 756e12
    assert chips.peak("TPU v5 lite") == 197e12
    assert chips.peak("cpu") is None
