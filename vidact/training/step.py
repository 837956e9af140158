"""One training step: a pure function of (state, batch, seed)."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from vidact.encoders.encode import encode
from vidact.encoders.video.codec import VideoCodec
from vidact.models.protocol import Losses, ModalityLoss
from vidact.nn.flat import Blueprint, Parameters
from vidact.training import skipping
from vidact.training.state import TrainState, inference_parameters

# Scalars, but under "by_time" those of `by_time`, under "by_data_set" those of `by_data_set`, and
# under "usual" the means that a step was judged by.
Metrics = dict[str, Any]
Totals = dict[str, Float[Array, ""]]
TIME_BUCKETS = 4


def total_loss(
    losses: Losses, weights: Mapping[str, float], totals: Totals | None = None
) -> tuple[Float[Array, ""], Metrics]:
    """Weighted sum over modalities of sum(loss * weight) / sum(weight).

    The division is over the whole batch, so that padding never dilutes a modality. Where `losses`
    are of a part of a batch, `totals` are the sums of the weights of all of it.
    """
    totals = sum_of_weights(losses) if totals is None else totals
    means = {
        name: (loss.error * loss.weight).sum() / jnp.maximum(totals[name], 1e-6)
        for name, loss in losses.items()
    }
    total = sum((weights[name] * mean for name, mean in means.items()), jnp.zeros(()))
    return total, {f"loss/{name}": mean for name, mean in means.items()}


def sum_of_weights(losses: Losses) -> Totals:
    """What a modality's losses are divided by."""
    return {name: loss.weight.sum() for name, loss in losses.items()}


def by_time(losses: Losses) -> dict[str, Float[Array, "buckets 2"]]:
    """Per modality, sums of error * weight and of weight in equal ranges of t.

    Sums rather than means: the log adds them up over steps, and a range may be empty in one step.
    """

    def bucket(t: Float[Array, "b"]):
        return jnp.minimum(t * TIME_BUCKETS, TIME_BUCKETS - 1).astype(jnp.int32)

    return {name: _sums(loss, bucket(loss.t), TIME_BUCKETS) for name, loss in losses.items()}


def by_data_set(
    losses: Losses, data_set: Int[Array, "b"], count: int
) -> dict[str, Float[Array, "sets 2"]]:
    """As `by_time`, for each of `count` data sets; `data_set` is 0 <= number < count."""
    return {name: _sums(loss, data_set, count) for name, loss in losses.items()}


def _sums(loss: ModalityLoss, group: Int[Array, "b"], count: int) -> Float[Array, "groups 2"]:
    pairs = jnp.stack([loss.error * loss.weight, loss.weight], axis=-1)
    return jax.ops.segment_sum(pairs, group, count)


def by_branch(grads: Parameters) -> Metrics:
    """The gradient's norm within each branch of the model: the first part of a path."""
    branches: dict[str, Parameters] = {}
    for path, value in grads.items():
        branches.setdefault(path.split("/")[0], {})[path] = value
    return {f"gradient_norm/{name}": optax.global_norm(part) for name, part in branches.items()}


def gradients(
    blueprint: Blueprint,
    params: Parameters,
    frozen: Parameters,
    inputs,
    key: Array,
    weights: Mapping[str, float],
    data_sets: int = 1,
    totals: Totals | None = None,
) -> tuple[tuple[Float[Array, ""], Metrics], Parameters]:
    """Loss, metrics and the gradient with respect to `params`; `totals` as in `total_loss`."""

    def loss(params):
        model = blueprint.assemble({**params, **frozen})
        losses = model.loss(inputs, key)
        total, metrics = total_loss(losses, weights, totals)
        metrics["by_time"] = by_time(losses)
        if data_sets > 1:
            metrics["by_data_set"] = by_data_set(losses, inputs.dataset_id, data_sets)
        return total, metrics

    return jax.value_and_grad(loss, has_aux=True)(params)


def accumulate(
    compute: Callable, count: Callable, batch: Mapping[str, Array], key: Array, parts: int
) -> Any:
    """The sum over a batch's parts of `compute(part, key, totals)`, one part in memory at a time.

    Every device passes its own rows, of which each part has as many. A first round only adds up
    `count(part, key)`, the totals; they ask nothing of the network, which XLA leaves out of it.
    """
    split = {
        name: jnp.moveaxis(rows.reshape(-1, parts, *rows.shape[1:]), 1, 0)
        for name, rows in batch.items()
    }
    given = (split, jax.random.split(key, parts))
    counts = jax.lax.map(lambda part: count(*part), given)
    totals = jax.tree.map(lambda x: x.sum(0), counts)
    first = jax.tree.map(lambda x: x[0], given)
    nothing = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(compute, *first, totals)
    )

    def add(sums, part):
        return jax.tree.map(jnp.add, sums, compute(*part, totals)), None

    return jax.lax.scan(add, nothing, given)[0]


def make_step(
    blueprint: Blueprint,
    optimizer: optax.GradientTransformation,
    *,
    seed: int,
    weights: Mapping[str, float],
    ema_decay: float,
    spike: float = 0.0,
    data_sets: int = 1,
    microbatches: int = 1,
) -> Callable[[TrainState, Mapping[str, Array], VideoCodec | None], tuple[TrainState, Metrics]]:
    """The function that the trainer jits; its randomness is folded from (seed, step).

    Args:
      blueprint, optimizer: of the model.
      seed: of the training's randomness.
      weights: of the modalities' losses.
      ema_decay: of the average.
      spike: see `skipping.judge`; a step that is not accepted leaves parameters, average and
        optimizer as they were.
      data_sets: how many the batches are mixed from; the metrics tell several apart.
      microbatches: parts of a batch that pass one after the other, their gradients added up.
    """

    def step(state: TrainState, batch: Mapping[str, Array], codec: VideoCodec | None):
        key = jax.random.fold_in(jax.random.key(seed), state.step)

        def inputs(part, key):
            return encode(codec, part, jax.random.fold_in(key, 1))

        def compute(part, key, totals=None):
            given = (blueprint, state.params, state.frozen, inputs(part, key), key)
            return gradients(*given, weights, data_sets, totals)

        def count(part, key):
            model = blueprint.assemble({**state.params, **state.frozen})
            return sum_of_weights(model.loss(inputs(part, key), key))

        if microbatches == 1:
            (loss, metrics), grads = compute(batch, key)
        else:
            (loss, metrics), grads = accumulate(compute, count, batch, key, microbatches)
        norm = optax.global_norm(grads)
        accepted, usual = skipping.judge(state.usual, loss, norm, spike)

        def move(params, ema, opt_state):
            updates, opt_state = optimizer.update(grads, opt_state, params)
            # Without the barrier XLA's CPU backend compiles, and computes, each parameter twice.
            params = jax.lax.optimization_barrier(optax.apply_updates(params, updates))
            # The average forgets its first steps faster than ema_decay alone would.
            decay = jnp.minimum(ema_decay, (1.0 + state.step) / (10.0 + state.step))
            ema = jax.tree.map(lambda e, p: e * decay + p * (1 - decay), ema, params)
            return params, ema, opt_state

        old = (state.params, state.ema, state.opt_state)
        params, ema, opt_state = jax.lax.cond(accepted, move, lambda *old: old, *old)
        metrics = {"loss": loss, **metrics, "gradient_norm": norm, **by_branch(grads)}
        metrics |= {"skipped": ~accepted, "in_a_row": usual.in_a_row}
        metrics["usual"] = {"loss": state.usual.loss, "gradient_norm": state.usual.gradient_norm}
        changed = TrainState(
            step=state.step + 1,
            params=params,
            frozen=state.frozen,
            ema=ema,
            opt_state=opt_state,
            usual=usual,
        )
        return changed, metrics

    return step


def make_evaluation(blueprint: Blueprint) -> Callable:
    """Losses at fixed times with fixed noise, of the inference parameters.

    The returned function maps (state, batch, codec, t [B, 2], seed) to {modality: mean loss}.
    """

    def evaluate(
        state: TrainState,
        batch,
        codec: VideoCodec | None,
        t: Float[Array, "b 2"],
        seed: Int[Array, ""] | int,
    ):
        model = blueprint.assemble(inference_parameters(state))
        losses = model.loss(encode(codec, batch), jax.random.key(seed), t=t)
        return total_loss(losses, dict.fromkeys(losses, 1.0))[1]

    return evaluate
