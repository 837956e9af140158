"""Tokens, FLOPs and peaks behind a log line, and what counts as useful time."""

import jax
import numpy as np
import pytest

from tests import tiny
from vidact.training import chips, example, flops, meters


def test_a_line_tells_rates_and_counts_accepted_steps_as_useful(tmp_path):
    config = tiny.config(tmp_path, model__decoder_channels=(16,))
    batch, codec = example.batch(config).as_dict(), example.codec(config)
    # 5 frames are 2 latents of 4 x 4, in patches of 2 x 2; 4 actions and a state; 8 samples.
    tokens, work = 8 * (2 * 4 + 4 + 1), flops.model_step(config, batch, codec)
    meter = meters.Meter(config, jax.devices())
    for _ in range(2):
        with meter.step(batch):
            np.linalg.svd(np.eye(50))
    nothing = meter.line(batch, codec, skipped=2)
    assert nothing["goodput"] == 0
    rate = nothing["steps/s"]
    assert nothing["seconds"] == pytest.approx(1 / rate)
    assert nothing["tokens/s"] == pytest.approx(tokens * rate)
    assert nothing["TFLOP/s"] == pytest.approx(work * rate / 1e12)
    with meter.step(batch):
        np.linalg.svd(np.eye(50))
    later = meter.line(batch, codec, skipped=0)
    assert 0 < later["goodput"] < 1
    assert "MFU" not in later  # of a CPU


def test_peaks_are_those_of_the_data_sheets():
    assert chips.peak("NVIDIA H100 80GB HBM3") == 989e12
    assert chips.peak("NVIDIA H100 PCIe") == 756e12
    assert chips.peak("TPU v5 lite") == 197e12
    assert chips.peak("cpu") is None
