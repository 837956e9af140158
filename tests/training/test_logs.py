"""Weights & Biases gets what the other logs get, and says so where it is not installed."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from configs import base
from vidact.training import logs


def test_a_run_is_written_for_weights_and_biases_without_network(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    config = base.get_config()
    config.train.wandb = "squares"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "picture.png")
    for step in (5, 5):  # once more after a kill
        logger = logs.Logger(tmp_path, config)
        logger.write(step, {"loss/video": 0.123456789})
        logger.picture(step, "samples", tmp_path / "picture.png")
        logger.close()
    written = list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
    known = (tmp_path / logs.WANDB).read_text()
    assert len(written) == 2 and all(known in path.name for path in written)
    content = written[0].read_bytes()
    assert b"loss/video" in content and b"0.123456789" in content
    assert list((tmp_path / "wandb").rglob("samples*.png"))
    assert logs.read(tmp_path) == [{"step": 5, "loss/video": 0.123456789}]


def test_pictures_are_written_for_tensorboard(tmp_path: pathlib.Path):
    logger = logs.Logger(tmp_path, base.get_config())
    Image.fromarray(np.full((8, 8, 3), 7, np.uint8)).save(tmp_path / "picture.png")
    logger.picture(3, "samples", tmp_path / "picture.png")
    logger.close()
    (file,) = (tmp_path / "tensorboard").glob("events.*")
    assert b"\x89PNG" in file.read_bytes()
    assert not (tmp_path / logs.WANDB).exists()
