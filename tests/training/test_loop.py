"""Training resumes bit for bit, refuses foreign work directories and learns."""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from PIL import Image
from tensorboardX.proto import event_pb2

from data_pipelines.data_set import short_name
from data_pipelines.sources.records import TFRecordShard
from tests import tiny
from tests.training import meshes
from vidact.batch import Batch
from vidact.errors import UserError
from vidact.nn import flat, lora
from vidact.training import (
    checkpoints,
    logs,
    loop,
    meters,
    preemption,
    prepare,
    provenance,
    runs,
    startup,
    state,
    step,
    summary,
    trace,
)

QUICK = {**tiny.QUICK, "train__trace": True, "train__keep": 10}


def arrays(workdir: pathlib.Path, step: int):
    """Parameters, averages and the optimizer's state, as saved."""
    return jax.tree.leaves([tiny.saved(workdir, step, item) for item in ("state", "params")])


def contents(folder: pathlib.Path) -> dict[pathlib.Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> pathlib.Path:
    return tiny.write_data(tmp_path_factory.mktemp("loop"))


@pytest.fixture(scope="module")
def whole(data) -> pathlib.Path:
    """Eight steps in one go."""
    workdir = data.parents[2] / "whole"
    loop.run(tiny.config(data, train__steps=8, train__checkpoint_every=100, **QUICK), workdir)
    return workdir


def test_a_checkpoint_carries_its_code_s_version_and_the_run_s_assets(whole):
    folder = whole / "checkpoints/8"
    meta = checkpoints.restore_meta(folder)
    assert {key: meta[key] for key in provenance.code()} == provenance.code()
    assert meta["config"] == json.loads((whole / "config.json").read_text())
    for path in (whole / "assets").iterdir():
        assert (folder / "assets" / path.name).read_bytes() == path.read_bytes()


def test_a_run_that_was_told_to_go_or_has_ended_goes_on_bit_for_bit(data, whole, tmp_path, capsys):
    config = tiny.config(data, train__steps=6, train__checkpoint_every=100, **QUICK)
    with preemption.watched():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(SystemExit) as stop:
            loop.run(config, tmp_path)
    assert stop.value.code == 75
    assert "told to go: saved step 1; " in capsys.readouterr().out
    torn = tmp_path / "checkpoints" / "6.orbax-checkpoint-tmp"
    torn.mkdir()
    (torn / "half").write_bytes(b"an interrupted write")
    loop.run(config, tmp_path)
    assert "continuing from step 1\n" in capsys.readouterr().out
    assert checkpoints.steps(tmp_path)[-1] == 6  # the end
    config.train.steps = 8  # how long a run is may change
    loop.run(config, tmp_path)
    assert "continuing from step 6\n" in capsys.readouterr().out
    assert (tmp_path / "trace.jsonl").read_text() == (whole / "trace.jsonl").read_text()
    pairs = list(zip(arrays(tmp_path, 8), arrays(whole, 8), strict=True))
    assert len(pairs) > 300
    for left, right in pairs:
        np.testing.assert_array_equal(left, right)


def test_copies_of_what_is_trained_that_differ_stop_the_run(data, tmp_path):
    config = tiny.config(data, train__steps=1, train__agree_every=1, **QUICK)
    trainer = prepare.trainer(config, tmp_path)
    update, path = trainer.update, "video/final_layer/linear/kernel"

    def faulty(*given):
        """As one device that computes a value's last bit wrongly; the average rounds it away."""
        after, metrics = update(*given)
        params = {**after.params, path: meshes.flipped(after.params[path], device=3)}
        return dataclasses.replace(after, params=params), metrics

    trainer.update = faulty
    with (
        checkpoints.open_manager(tmp_path, config.train) as manager,
        pytest.raises(UserError, match=rf"step 1: {path} on device 3 of process 0 is not what"),
    ):
        loop._Loop(trainer, manager, startup.Clock()).run()


def test_a_torn_checkpoint_is_not_picked_up(whole):
    (whole / "checkpoints" / "9.orbax-checkpoint-tmp").mkdir()
    assert runs.load(whole).step == 8


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"train__ema": 0.5}, r"config\.train\.ema \(0\.995 there, 0\.5 now\)"),
        ({"model__depth": 2}, r"config\.model\.depth \(1 there, 2 now\)"),
        ({"seed": 5}, r"config\.seed \(0 there, 5 now\)"),
    ],
)
def test_another_configuration_is_refused_and_nothing_touched(data, whole, changes, named):
    before = contents(whole)
    changed = tiny.config(data, train__steps=8, **{**QUICK, **changes})
    with pytest.raises(UserError, match=named):
        loop.run(changed, whole)
    assert before == contents(whole)


def test_another_data_set_is_refused_and_nothing_touched(whole, tmp_path):
    before = contents(whole)
    other = tiny.write_data(tmp_path, episodes=11)
    with pytest.raises(UserError, match=r"not the data set that .* was trained on"):
        loop.run(tiny.config(other, train__steps=9, **QUICK), whole)
    assert before == contents(whole)


def test_a_damaged_checkpoint_is_named_and_nothing_touched(data, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    for path in (tmp_path / "run/checkpoints/8/state").rglob("*"):
        if path.is_file() and path.stat().st_size > 1000:
            path.write_bytes(path.read_bytes()[:100])
    before = contents(tmp_path / "run")
    with pytest.raises(UserError, match=r"checkpoints/8: damaged"):
        loop.run(tiny.config(data, train__steps=9, **QUICK), tmp_path / "run")
    assert before == contents(tmp_path / "run")


def test_checkpoints_of_another_run_are_refused(data, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    config = json.loads((whole / "config.json").read_text())
    config["data"]["fps"] = 10.0
    (tmp_path / "run/config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"config\.data\.fps \(10\.0 there, 20\.0 now\)"):
        runs.load(tmp_path / "run")


def test_what_is_not_finite_is_skipped_told_and_never_saved(data, tmp_path):
    config = tiny.config(data, train__steps=8, train__checkpoint_every=4, **QUICK)
    config.train.log_every = 100  # the check must not wait for the log
    config.train.stop_after_skipped = 3
    config.optimizer.warmup, config.optimizer.learning_rate = 0, 1e30
    with pytest.raises(UserError, match=r"step 4: 3 steps in a row were skipped, here loss"):
        loop.run(config, tmp_path)
    # Step 1, which Orbax always saves, was sound; step 4, due by then, was not.
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["1"]
    told = json.loads((tmp_path / "skipped/2.json").read_text())
    assert told["why"][0].endswith("is not finite")
    with np.load(tmp_path / "skipped/3.npz") as arrays:
        rows = trace.digests(Batch(**arrays))
    assert trace.digest(rows) == trace.read(tmp_path)[2]["batch"]


def test_what_is_not_on_the_device_stops_the_step(data):
    meter = meters.Meter(tiny.config(data), jax.devices())
    update = jax.jit(lambda state, batch, codec: (state + 1, {"loss": batch["x"].sum()}))
    state, batch = jax.device_put((jnp.zeros(()), {"x": np.ones(3)}))
    state, metrics = loop.advance(update, meter, state, batch, None)
    assert isinstance(metrics["loss"], jax.Array)
    for wrong in ((state, {"x": np.ones(3)}), (0.0, batch)):
        with pytest.raises(RuntimeError, match="Disallowed host-to-device transfer"):
            loop.advance(update, meter, *wrong, None)


@pytest.mark.slow
def test_a_run_shows_its_data_its_samples_and_its_profile(data, tmp_path):
    changes = {"train__picture_every": 2, "train__profile": (2, 2), "data__held_out": 0.2}
    config = tiny.config(data, train__steps=2, **{**QUICK, **changes})
    config.evaluate.sample_steps = 1
    loop.run(config, tmp_path)
    with Image.open(tmp_path / "pictures/2.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    for curve in ((200, 40, 40), (40, 80, 200)):  # recorded and generated
        assert (pixels == curve).all(-1).any()
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
    (row,) = logs.read(tmp_path)
    assert row["skipped"] == 0 and 0 < row["goodput"] < 1 and row["TFLOP/s"] > 0
    assert "MFU" not in row  # of a CPU
    times = [name for name in row if name.startswith("held out by time/action/")]
    assert [name[-4:] for name in times] == [f"{0.05 + i / 10:.2f}" for i in range(10)]
    mean = np.mean([row[name] for name in times])
    assert row["held out loss/action"] == pytest.approx(mean)


def test_how_long_and_how_often_may_change(data, whole):
    changes = {"train__log_every": 3, "evaluate__rollouts": 5, "data__threads": 1}
    loop.check_workdir(tiny.config(data, train__steps=9, **{**QUICK, **changes}), whole)


def test_a_run_shows_what_it_begins_with(whole):
    with Image.open(whole / "pictures/first_batch.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert (np.abs(pixels - (220.0, 40, 40)).max(-1) < 30).sum() > 1000  # the square, enlarged
    table = (whole / "parameters.txt").read_text()
    assert "video/x_embedder/kernel" in table and "Total" in table


def test_metrics_are_written_as_lines_and_for_tensorboard(whole):
    rows = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [5, 8]
    assert {"loss", "loss/video", "loss/action", "gradient_norm", "data wait"} <= set(rows[0])
    assert logs.read(whole) == rows
    (file,) = (whole / "tensorboard").glob("events.*")
    shard = TFRecordShard(epath.Path(file))  # TensorBoard's files are TFRecords
    events = [event_pb2.Event.FromString(shard.read(i)) for i in range(len(shard))]
    found = {(e.step, v.tag): v.simple_value for e in events for v in e.summary.value}
    assert found[8, "loss/video"] == pytest.approx(rows[1]["loss/video"])
    assert found[5, "loss"] == pytest.approx(rows[0]["loss"])
    assert "tensorflow" not in sys.modules


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


@pytest.mark.slow
def test_a_run_with_a_frozen_branch_in_bfloat16_goes_on_bit_for_bit(data, tmp_path):
    changes = {"train__freeze": ("video-branch",), "train__frozen_dtype": "bfloat16"}
    changes |= {**QUICK, "model__lora_rank": 2, "train__steps": 4, "train__checkpoint_every": 2}
    loop.run(tiny.config(data, **changes), tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "stopped")
    shutil.rmtree(tmp_path / "stopped/checkpoints/4")
    loop.run(tiny.config(data, **changes), tmp_path / "stopped")
    pairs = zip(arrays(tmp_path / "stopped", 4), arrays(tmp_path / "whole", 4), strict=True)
    for left, right in pairs:
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)
    trained = tiny.saved(tmp_path / "stopped", 4, "state")["params"]
    earlier, later = (tiny.saved(tmp_path / "stopped", n, "params") for n in (2, 4))
    assert all(lora.is_factor(path) for path in trained if path.startswith("video/"))
    assert all(value.any() for path, value in trained.items() if path.endswith("/lora_b"))
    found = flat.parameters(runs.load(tmp_path / "stopped").model)
    kernels = [path for path in later.keys() - trained.keys() if path.endswith("/kernel")]
    assert len(kernels) > 10
    for path in kernels:
        assert later[path].dtype == jnp.bfloat16
        np.testing.assert_array_equal(later[path], earlier[path])
        np.testing.assert_array_equal(found[path], later[path].astype(np.float32))


def test_losses_are_logged_by_data_set_where_there_are_several():
    pair = np.asarray([[3.0, 2.0], [0.0, 0.0], [1.0, 4.0]])
    times = {"video": np.ones((step.TIME_BUCKETS, 2))}
    rows = [{"loss": 1.0, "skipped": False, "by_time": times, "by_data_set": {"video": pair}}] * 2
    values = summary.of_steps(rows, ("bridge", "empty", "squares"))
    told = {name: value for name, value in values.items() if name.startswith(logs.BY_DATA_SET)}
    assert told == {"loss by data set/video/bridge": 1.5, "loss by data set/video/squares": 0.25}
    assert values["loss by time/video/t 0.25-0.50"] == 1
    assert short_name("gs://sets/bridge/1.0.0 split train[:90%]") == "bridge"
    assert short_name("recorded split train") == "recorded"
