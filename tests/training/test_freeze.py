"""What is frozen, by name or by pattern, costs no optimizer, no average, and half in bfloat16."""

import re

import jax
import jax.numpy as jnp
import pytest

from tests import tiny
from vidact.errors import UserError
from vidact.models import registry
from vidact.nn import flat, lora
from vidact.training import checks, describe, optimizer, state

EVERYTHING = {"model__lora_rank": 2, "model__refiner_depth": 1, "model__decoder_channels": (32,)}


def planned(tmp_path, **changes):
    config = tiny.config(tmp_path, **{**EVERYTHING, **changes})
    return config, flat.blueprint(registry.maker(config))


@pytest.fixture
def plan(tmp_path) -> flat.Blueprint:
    return planned(tmp_path)[1]


def trainable(plan: flat.Blueprint, *freeze: str) -> set[str]:
    state.check_freeze(plan.shapes, freeze, plan.buffers)
    return set(state.split_frozen(plan.shapes, freeze, plan.buffers)[0])


def test_the_video_branch_freezes_but_for_its_lora_factors(plan):
    left = {path for path in trainable(plan, "video-branch") if path.startswith("video/")}
    assert left == {path for path in plan.shapes if lora.is_factor(path)}
    assert len(left) == 2 * 14
    others = trainable(plan) - trainable(plan, "video-branch")
    assert all(path.startswith("video/") for path in others)
    assert "y_embedding" not in trainable(plan, "video-branch")


@pytest.mark.parametrize(
    ("kind", "parts"),
    [("bridge", {"action"}), ("self_attention", {"action_in", "action_out"}), ("none", set())],
)
def test_all_but_action_trains_its_side_of_the_bridges(tmp_path, kind, parts):
    plan = planned(tmp_path, model__bridge_kind=kind)[1]
    left = trainable(plan, "all-but-action")
    bridges = {path for path in left if path.startswith("bridges/")}
    assert {path.split("/")[1] for path in bridges} == parts
    assert left - bridges == {path for path in plan.shapes if path.startswith("action/")}


def test_all_but_the_refiner(plan):
    left = trainable(plan, "all-but-refiner")
    assert left == {path for path in plan.shapes if path.startswith("refiner/")}


def test_names_and_patterns_go_together(plan):
    left = trainable(plan, "video-branch", "/lora_a$")
    factors = {path for path in left if path.startswith("video/")}
    assert factors == {path for path in plan.shapes if path.endswith("/lora_b")}


@pytest.mark.parametrize(
    ("freeze", "told"),
    [
        (("video-brunch",), "'video-brunch' matches no .*video-branch, all-but-action, all-but-r"),
        (("^vidio/",), r"'\^vidio/' matches no parameter; they are named like action/"),
        (("(",), r"'\(': .*; mend it"),
        (("video-branch", "all-but-action", "^action/", "^bridges/"), "nothing is left to train"),
    ],
)
def test_entries_that_do_not_do_are_named(plan, freeze, told):
    with pytest.raises(UserError, match=re.escape("config.train.freeze") + ".*" + told):
        state.check_freeze(plan.shapes, freeze, plan.buffers)


def test_without_a_refiner_nothing_would_be_left(tmp_path):
    plan = planned(tmp_path, model__refiner_depth=0)[1]
    with pytest.raises(UserError, match="nothing is left to train"):
        state.check_freeze(plan.shapes, ("all-but-refiner",), plan.buffers)


def test_frozen_kernels_alone_are_kept_in_bfloat16(tmp_path):
    config, plan = planned(tmp_path)
    change = optimizer.make_optimizer(config.optimizer, 10)
    freeze = ("video-branch", "^text_encoder/")
    make = registry.maker(config)
    fresh = jax.eval_shape(lambda: state.create(make, freeze, change, "bfloat16"))
    small = {path for path, value in fresh.frozen.items() if value.dtype == jnp.bfloat16}
    assert small == {path for path in fresh.frozen if path.endswith("/kernel")}
    assert {path.split("/")[0] for path in small} == {"video", "text_encoder"}
    rest = [v for k, v in fresh.frozen.items() if k not in small]
    assert {value.dtype for value in [*rest, *fresh.params.values()]} == {jnp.dtype(jnp.float32)}


def test_what_is_frozen_has_no_optimizer_state_and_no_average(tmp_path):
    config, plan = planned(tmp_path)
    change = optimizer.make_optimizer(config.optimizer, 10)
    make = registry.maker(config)
    fresh = jax.eval_shape(lambda: state.create(make, ("video-branch",), change, "bfloat16"))
    for tree in (fresh.opt_state, fresh.ema):
        paths, _ = jax.tree.flatten_with_path(tree)
        named = {key.key for path, _ in paths for key in path if hasattr(key, "key")}
        assert named == set(fresh.params)
        assert not named & set(fresh.frozen)


def test_describe_counts_the_bytes_of_the_state(tmp_path):
    frozen = {"train__freeze": ("video-branch",)}
    for changes in ({}, frozen, {**frozen, "train__frozen_dtype": "bfloat16"}):
        config, plan = planned(tmp_path, **changes)
        change = optimizer.make_optimizer(config.optimizer, 10)
        args = (registry.maker(config), config.train.freeze, change, config.train.frozen_dtype)
        fresh = jax.eval_shape(lambda args=args: state.create(*args))
        leaves = [leaf for leaf in jax.tree.leaves(fresh) if leaf.shape]  # without counters
        gradient = sum(value.size * 4 for value in fresh.params.values())
        expected = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves) + gradient
        assert describe.training_bytes(config, plan) == expected


def test_another_type_is_refused(tmp_path):
    config = tiny.config(tmp_path, train__frozen_dtype="float16")
    with pytest.raises(UserError, match=r"config\.train\.frozen_dtype='float16': choose one of"):
        checks.check_sizes(config)
