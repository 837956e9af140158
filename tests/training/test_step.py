"""One step: padding, the average, frozen parameters, and nothing but (state, batch, seed)."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
import pytest

from data_pipelines.loading import WindowDataset
from data_pipelines.opening import open_source
from tests import tiny
from vidact.encoders.encode import encode
from vidact.models import registry
from vidact.models.protocol import ModalityLoss
from vidact.nn import flat
from vidact.training import feed, logs, optimizer, prepare, sharding, state, step, summary

FREEZE = (r"^text_encoder/", r"positions$", r"^video/time/")
EMA = 0.9
WEIGHTS = {"video": 0.5, "action": 2.0}


@dataclasses.dataclass(frozen=True)
class Setup:
    """A compiled step on one device, what it starts from and a batch with padding."""

    plan: flat.Blueprint
    first: state.TrainState
    batch: dict[str, np.ndarray]
    codec: object
    update: object
    held_out: WindowDataset
    config: ml_collections.ConfigDict


@pytest.fixture(scope="module")
def setup(tmp_path_factory) -> Setup:
    data = tiny.write_data(tmp_path_factory.mktemp("step"))
    config = tiny.config(data, model__decoder_channels=(32,), data__frames=9)
    config.optimizer.warmup = 0
    train, held_out = prepare.open_data(config, open_source(config.data))
    make = registry.maker(config)
    plan = flat.blueprint(make)
    change = optimizer.make_optimizer(config.optimizer, 10)
    first = jax.jit(lambda: state.create(make, FREEZE, change))()
    update = step.make_step(plan, change, seed=3, weights=WEIGHTS, ema_decay=EMA)
    codec = prepare.fit_codec(config.encoder, train)
    # The last windows of the last episode run over its end.
    batch = train.load(np.arange(len(train) - 8, len(train))).as_dict()
    return Setup(plan, first, batch, codec, jax.jit(update), held_out, config)


@pytest.fixture(scope="module")
def second(setup) -> tuple[state.TrainState, dict]:
    return setup.update(setup.first, setup.batch, setup.codec)


def same(left, right) -> bool:
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_padding_carries_no_loss(setup, second):
    batch = {name: value.copy() for name, value in setup.batch.items()}
    frames, actions = ~batch["frame_mask"], ~batch["action_mask"]
    assert frames.any() and actions.any()
    batch["video"][frames] = 255 - batch["video"][frames]
    batch["actions"][actions] += 3
    assert same(setup.update(setup.first, batch, setup.codec), second)
    batch["video"][:, 1] = 255 - batch["video"][:, 1]
    assert not same(setup.update(setup.first, batch, setup.codec)[1], second[1])


@pytest.mark.parametrize("value", [np.nan, 1e30])
def test_a_step_that_is_not_finite_changes_nothing_but_its_number(setup, second, value):
    batch = {**setup.batch, "actions": setup.batch["actions"] * np.float32(value)}
    before = second[0]
    after, metrics = setup.update(before, batch, setup.codec)
    assert metrics["skipped"] and metrics["in_a_row"] == 1
    assert after.step == before.step + 1 and after.usual.accepted == before.usual.accepted
    for name in ("params", "frozen", "ema", "opt_state"):
        assert same(getattr(after, name), getattr(before, name)), name
    once_more, metrics = setup.update(after, setup.batch, setup.codec)
    assert not metrics["skipped"] and metrics["in_a_row"] == 0
    assert not same(once_more.params, after.params)


def test_a_step_depends_on_nothing_but_its_arguments(setup, second):
    assert same(setup.update(setup.first, setup.batch, setup.codec), second)
    later = dataclasses.replace(setup.first, step=jnp.asarray(7, jnp.int32))
    other, metrics = setup.update(later, setup.batch, setup.codec)
    assert other.step == 8
    assert metrics["loss"] != second[1]["loss"]  # other times and other noise


@pytest.mark.parametrize(("count", "decay"), [(0, 0.1), (40, 41 / 50), (1000, EMA)])
def test_the_average_follows_slowly(setup, count, decay):
    start = dataclasses.replace(setup.first, step=jnp.asarray(count, jnp.int32))
    moved, _ = setup.update(start, setup.batch, setup.codec)
    for name, value in moved.ema.items():
        expected = decay * setup.first.ema[name] + (1 - decay) * moved.params[name]
        np.testing.assert_allclose(value, expected, atol=1e-6)
    changed = [n for n, v in moved.params.items() if not np.array_equal(v, setup.first.params[n])]
    assert len(changed) > 10


def test_frozen_parameters_stay_and_cost_nothing(setup, second):
    frozen = second[0].frozen
    assert {name.split("/")[0] for name in frozen} == {"text_encoder", "video", "y_embedding"}
    assert same(frozen, setup.first.frozen)
    assert not set(frozen) & set(second[0].params)
    paths, _ = jax.tree.flatten_with_path(second[0].opt_state)
    named = {key.key for path, _ in paths for key in path if hasattr(key, "key")}
    assert named == set(second[0].params)
    assert set(second[0].ema) == set(second[0].params)
    whole = state.inference_parameters(second[0])
    assert set(whole) == set(setup.plan.shapes)
    assert whole["video/time/t_block/kernel"] is frozen["video/time/t_block/kernel"]


def test_the_metrics_are_the_losses_and_their_weighted_sum(second):
    metrics = second[1]
    assert set(metrics) >= {"loss", "loss/video", "loss/action", "by_time", "gradient_norm"}
    branches = [float(v) for name, v in metrics.items() if name.startswith("gradient_norm/")]
    np.testing.assert_allclose(np.hypot.reduce(branches), metrics["gradient_norm"], rtol=1e-5)
    assert "gradient_norm/action" in metrics
    total = sum(WEIGHTS[name] * metrics[f"loss/{name}"] for name in WEIGHTS)
    np.testing.assert_allclose(metrics["loss"], total, rtol=1e-6)
    assert metrics["gradient_norm"] > 0
    for name, sums in metrics["by_time"].items():
        error, weight = np.asarray(sums).sum(0)
        np.testing.assert_allclose(error / weight, metrics[f"loss/{name}"], rtol=1e-6)


def test_the_total_weighs_samples_by_what_is_real():
    losses = {
        "video": ModalityLoss(*map(jnp.asarray, ([1.0, 5.0], [1.0, 0.25], [0.1, 0.2]))),
        "action": ModalityLoss(*map(jnp.asarray, ([3.0, 7.0], [0.0, 0.0], [0.3, 1.0]))),
    }
    total, metrics = step.total_loss(losses, {"video": 2.0, "action": 1.0})
    np.testing.assert_allclose(metrics["loss/video"], (1 + 5 * 0.25) / 1.25)
    assert metrics["loss/action"] == 0  # nothing is labelled: no division by zero
    np.testing.assert_allclose(total, 2 * 2.25 / 1.25)


def test_losses_are_added_up_in_ranges_of_time():
    error, weight = [1.0, 5.0, 2.0, 3.0], [1.0, 0.25, 1.0, 0.5]
    loss = ModalityLoss(*map(jnp.asarray, (error, weight, [0.0, 0.24, 0.5, 1.0])))
    expected = [[2.25, 1.25], [0, 0], [2, 1], [1.5, 0.5]]
    np.testing.assert_allclose(step.by_time({"video": loss})["video"], expected)


def test_losses_are_added_up_by_data_set_where_there_are_several(setup, second):
    loss = ModalityLoss(*map(jnp.asarray, ([1.0, 5.0, 2.0], [1.0, 0.25, 1.0], [0.0, 0.5, 1.0])))
    found = step.by_data_set({"video": loss}, jnp.asarray([2, 0, 2]), 3)["video"]
    np.testing.assert_allclose(found, [[1.25, 0.25], [0, 0], [3, 2]])
    inputs = encode(setup.codec, setup.batch)
    args = (setup.first.params, setup.first.frozen, inputs, jax.random.key(0))
    compute = lambda *args: step.gradients(setup.plan, *args, WEIGHTS, 2)  # noqa: E731
    (_, metrics), _ = jax.eval_shape(compute, *args)
    assert {name: v.shape for name, v in metrics["by_data_set"].items()} == {
        "video": (2, 2), "action": (2, 2)
    }  # fmt: skip
    assert "by_data_set" not in second[1]


def test_the_evaluation_loss_is_the_same_each_time(setup, second):
    evaluate = jax.jit(step.make_evaluation(setup.plan))
    t = jnp.full((8, 2), 0.3)
    losses = [
        evaluate(s, setup.batch, setup.codec, t, seed)
        for s, seed in ((setup.first, 0), (second[0], 0), (setup.first, 0), (setup.first, 1))
    ]
    assert losses[0] == losses[2]
    assert losses[0] != losses[3]
    moved = dataclasses.replace(second[0], ema=setup.first.ema)
    assert evaluate(moved, setup.batch, setup.codec, t, 0) == losses[0]  # of the average alone
    assert losses[1] != losses[0]


def test_held_out_losses_of_two_stages_are_taken_where_these_train(setup, second):
    """The video's with actions unknown, the actions' with the video known; never at (t, t)."""
    config, evaluate = setup.config.copy_and_resolve_references(), step.make_evaluation(setup.plan)
    config.model.update(times="two_stage", order="video_first", mode_share=0.0)
    trainer = prepare.Trainer(
        config=config, workdir=pathlib.Path(), train=setup.held_out, held_out=setup.held_out,
        codec=setup.codec, mesh=sharding.make_mesh(config.mesh), blueprint=setup.plan,
        state=second[0], update=setup.update, evaluate=jax.jit(evaluate), data_sets=("squares",),
    )  # fmt: skip
    found = summary.held_out(trainer)
    batch = feed.to_devices(setup.held_out.batch_at(0), trainer.mesh)
    for name, pair in (("video", (0.35, 1.0)), ("action", (0.0, 0.35))):
        times = jnp.tile(jnp.asarray(pair), (8, 1))
        loss = trainer.evaluate(second[0], batch, setup.codec, times, 0)[f"loss/{name}"]
        told = found[f"{logs.HELD_OUT_BY_TIME}{name}/t 0.35"]
        np.testing.assert_allclose(told, loss, rtol=1e-5)


def test_microbatches_add_up_to_the_whole_batch(setup):
    """Parts of every second row, as each device would pass them, with totals of all rows."""
    config = {"seed": 3, "weights": WEIGHTS, "ema_decay": EMA}
    update = jax.jit(step.make_step(setup.plan, optax.sgd(1.0), **config, microbatches=2))
    first = dataclasses.replace(setup.first, opt_state=optax.sgd(1.0).init(setup.first.params))
    moved, metrics = update(first, setup.batch, setup.codec)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(3), 0), 2)

    def losses(params, part):
        rows = {name: value[part::2] for name, value in setup.batch.items()}
        inputs = encode(setup.codec, rows, jax.random.fold_in(keys[part], 1))
        return setup.plan.assemble({**params, **first.frozen}).loss(inputs, keys[part])

    @jax.jit
    @jax.value_and_grad
    def whole(params):
        found = [losses(params, part) for part in range(2)]
        total = 0.0
        for name, weight in WEIGHTS.items():
            error = jnp.concatenate([x[name].error for x in found])
            share = jnp.concatenate([x[name].weight for x in found])
            total += weight * (error * share).sum() / share.sum()
        return total

    loss, grads = whole(first.params)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    largest = max(float(jnp.abs(value).max()) for value in grads.values())
    for name, value in grads.items():
        change = first.params[name] - moved.params[name]
        np.testing.assert_allclose(change, value, atol=1e-5 * largest, err_msg=name)
    sums = metrics["by_time"]["action"].sum(0)
    np.testing.assert_allclose(sums[0] / sums[1], metrics["loss/action"], rtol=1e-5)
