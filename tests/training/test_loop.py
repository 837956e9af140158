"""Training resumes bit for bit, refuses foreign work directories and learns."""

import json
import pathlib

import jax
import numpy as np
import pytest

from tests import tiny
from vidact.errors import UserError
from vidact.training import checkpoints, loop, runs, state

QUICK = {"data__held_out": 0.0, "train__trace": True, "train__keep": 10}


def flat(workdir: pathlib.Path, step: int):
    with checkpoints.open_manager(workdir, read_only=True) as manager:
        item = manager.restore(step, args=None)
    return [np.asarray(leaf) for leaf in jax.tree.leaves(item["state"])]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> pathlib.Path:
    return tiny.write_data(tmp_path_factory.mktemp("loop"))


@pytest.fixture(scope="module")
def whole(data) -> pathlib.Path:
    workdir = data.parents[2] / "whole"
    loop.run(tiny.config(data, train__steps=8, train__checkpoint_every=4, **QUICK), workdir)
    return workdir


def test_a_stopped_run_goes_on_bit_for_bit(data, whole, tmp_path):
    for steps in (4, 8):
        config = tiny.config(data, train__steps=steps, train__checkpoint_every=4, **QUICK)
        config.optimizer.schedule = "constant"  # a cosine depends on the number of steps
        loop.run(config, tmp_path / "parts")
    config = tiny.config(data, train__steps=8, train__checkpoint_every=4, **QUICK)
    config.optimizer.schedule = "constant"
    loop.run(config, tmp_path / "once")
    traces = [(tmp_path / name / "trace.jsonl").read_text() for name in ("parts", "once")]
    assert traces[0] == traces[1]
    for left, right in zip(*(flat(tmp_path / n, 8) for n in ("parts", "once")), strict=True):
        np.testing.assert_array_equal(left, right)


def test_a_torn_checkpoint_is_not_picked_up(whole):
    (whole / "checkpoints" / "9.orbax-checkpoint-tmp").mkdir()
    assert runs.load(whole).step == 8


def test_another_configuration_is_refused_and_nothing_touched(data, whole):
    before = {p: p.read_bytes() for p in whole.rglob("*") if p.is_file()}
    changed = tiny.config(data, train__steps=8, train__ema=0.5, **QUICK)
    with pytest.raises(UserError, match=r"config\.train\.ema \(0\.995 there, 0\.5 now\)"):
        loop.run(changed, whole)
    assert before == {p: p.read_bytes() for p in whole.rglob("*") if p.is_file()}


def test_metrics_are_written_as_lines_and_for_tensorboard(whole):
    rows = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [5, 8]
    assert {"loss", "loss/video", "loss/action", "gradient_norm", "data wait"} <= set(rows[0])
    events = list((whole / "tensorboard").glob("events.*"))
    assert len(events) == 1
    assert b"loss/video" in events[0].read_bytes()


def test_one_batch_can_be_learnt_by_heart(data, tmp_path):
    config = tiny.config(data, train__steps=60, train__checkpoint_every=60, **QUICK)
    config.overfit_one_batch = True
    loop.run(config, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "trace.jsonl").read_text().splitlines()]
    assert len({row["batch"] for row in rows}) == 1
    losses = [float.fromhex(row["loss"]) for row in rows]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:5])


def test_frozen_parameters_are_not_trained():
    trainable, frozen = state.split_frozen({"video/a": 1, "action/b": 2}, ("^video/",))
    assert (trainable, frozen) == ({"action/b": 2}, {"video/a": 1})
