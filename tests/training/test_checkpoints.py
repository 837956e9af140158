"""What a checkpoint holds, which of them stay, and which are none."""

import dataclasses
import os
import shutil
import subprocess
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

import vidact
from configs import base
from vidact.errors import UserError
from vidact.training import checkpoints, checks, provenance, runs, skipping, state

LOSSES = {1: 0.9, 2: 0.4, 3: 0.8, 4: 0.7, 5: 0.3, 6: 0.6, 7: 0.5, 8: 0.95}


@pytest.fixture
def workdir(tmp_path):
    """With assets, without checkpoints."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets/statistics.json").write_text('{"measured": "once"}')
    return tmp_path


def restore(folder):
    return checkpoints.restore_state(folder, made(1))


def policy(**changes):
    train = base.get_config().train
    train.update(checkpoint_every=1, **changes)
    return train


def made(number: int) -> state.TrainState:
    """A state of a trained and a frozen parameter."""
    return state.TrainState(
        step=jnp.int32(number),
        params={"a/kernel": jnp.full((2, 3), number, jnp.float32)},
        frozen={"b/kernel": jnp.full((3,), 7, jnp.bfloat16)},
        ema={"a/kernel": jnp.full((2, 3), number / 2, jnp.float32)},
        opt_state=({"mu": {"a/kernel": jnp.full((2, 3), -number, jnp.float32)}},),
        usual=dataclasses.replace(skipping.fresh(), accepted=jnp.int32(number)),
    )


def write(workdir, steps, **changes) -> None:
    with checkpoints.open_manager(workdir, policy(**changes)) as manager:
        for step in steps:
            loss = LOSSES[step] if changes.get("keep_best") else None
            checkpoints.save(manager, made(step), {"step": step, "config": {}}, loss)


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({"keep": 2}, [7, 8]),
        ({"keep": 1, "keep_every": 3}, [3, 6, 8]),
        ({"keep": 1, "keep_best": 2}, [2, 5, 8]),
        ({"keep": 2, "keep_every": 4, "keep_best": 1}, [4, 5, 7, 8]),
    ],
)
def test_the_newest_those_of_every_so_many_steps_and_the_best_stay(workdir, changes, left):
    write(workdir, range(1, 9), **changes)
    assert checkpoints.steps(workdir) == left


def test_the_best_are_known_after_a_restart(workdir):
    write(workdir, (1, 2, 3), keep=1, keep_best=1)
    write(workdir, (4, 6), keep=1, keep_best=1)
    assert checkpoints.steps(workdir) == [2, 6]


def test_a_checkpoint_holds_what_it_takes_to_go_on_and_to_be_used_alone(workdir):
    write(workdir, (3,))
    folder = workdir / "checkpoints/3"
    given = made(3)
    found = checkpoints.restore_state(folder, jax.tree.map(jnp.zeros_like, given))
    jax.tree.map(np.testing.assert_array_equal, found, given)
    assert found.frozen["b/kernel"].dtype == jnp.bfloat16
    assert checkpoints.restore_meta(folder)["step"] == 3
    shutil.copytree(folder, workdir / "taken")  # under another name
    assert (workdir / "taken/assets/statistics.json").read_text() == '{"measured": "once"}'
    assert checkpoints.is_one(workdir / "taken")
    assert runs.find(workdir / "taken") == workdir / "taken"
    assert checkpoints.parameter_shapes(workdir / "taken") == {"a/kernel": (2, 3), "b/kernel": (3,)}
    where = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    wanted = {"a/kernel": jax.ShapeDtypeStruct((2, 3), jnp.float32, sharding=where)}
    (only,) = checkpoints.restore_parameters(workdir / "taken", wanted).items()
    assert only[0] == "a/kernel"
    np.testing.assert_array_equal(only[1], np.full((2, 3), 1.5))  # the average


def test_writing_begins_once_everything_is_copied(workdir, monkeypatch):
    seen = []
    with checkpoints.open_manager(workdir, policy()) as manager:
        inner = manager.save

        def copy(*args, **settings) -> None:
            inner(*args, **settings)
            time.sleep(0.5)  # enough for a thread that did not wait to make its folder
            seen.append(os.listdir(workdir / "checkpoints"))

        monkeypatch.setattr(manager, "save", copy)
        checkpoints.save(manager, made(1), {"step": 1, "config": {}})
    assert seen == [[]] and checkpoints.steps(workdir) == [1]


def placed(value: state.TrainState, devices: int, fsdp: int) -> state.TrainState:
    """The state on a mesh of some of the devices; whatever divides is split over fsdp."""
    grid = np.array(jax.devices()[:devices]).reshape(-1, fsdp)
    mesh = jax.sharding.Mesh(grid, ("data", "fsdp"))

    def place(leaf: jax.Array) -> jax.Array:
        split = leaf.ndim > 0 and leaf.shape[-1] % fsdp == 0
        spec = P(*[None] * (leaf.ndim - 1), "fsdp") if split else P()
        return jax.device_put(leaf, NamedSharding(mesh, spec))

    return jax.tree.map(place, value)


def test_a_state_is_restored_on_another_number_of_devices(workdir):
    rng = np.random.default_rng(0)
    saved_state = made(3)
    kernel = jnp.asarray(rng.normal(size=(5, 24)), jnp.float32)
    saved_state = dataclasses.replace(saved_state, params={"a/kernel": kernel})
    with checkpoints.open_manager(workdir, policy()) as manager:
        checkpoints.save(manager, placed(saved_state, 8, 8), {"step": 3, "config": {}})
    target = placed(jax.tree.map(jnp.zeros_like, saved_state), 4, 2)
    found = checkpoints.restore_state(workdir / "checkpoints/3", target)
    for wanted, saved, got in zip(*map(jax.tree.leaves, (target, saved_state, found)), strict=True):
        assert got.sharding == wanted.sharding and got.dtype == saved.dtype
        np.testing.assert_array_equal(np.asarray(got), np.asarray(saved))
    assert found.params["a/kernel"].addressable_shards[0].data.shape == (5, 12)


def test_what_was_never_finished_is_skipped_and_out_of_the_way(workdir, capsys):
    write(workdir, (1, 2, 3))
    torn = workdir / "checkpoints/3"
    (torn / "commit_success.txt").unlink()
    left = workdir / "checkpoints/4.orbax-checkpoint-tmp"
    left.mkdir()
    (left / "half").write_bytes(b"an interrupted write")
    assert checkpoints.steps(workdir) == [2]
    assert runs.find(workdir) == workdir / "checkpoints/2"
    with pytest.raises(UserError, match="checkpoints/3: was never finished"):
        runs.find(torn)
    write(workdir, (3,))
    assert "checkpoints/3: was never finished; renamed to 3.unfinished" in capsys.readouterr().out
    assert sorted(os.listdir(workdir / "checkpoints")) == ["2", "3", "3.unfinished"]


@pytest.mark.parametrize("item", ["params", "state", "meta"])
@pytest.mark.parametrize("damage", ["deleted", "cut"])
def test_a_damaged_checkpoint_is_named(workdir, item, damage):
    write(workdir, (1,))
    folder = workdir / "checkpoints/1"
    if damage == "deleted":
        shutil.rmtree(folder / item)
    for path in (folder / item).rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    read = checkpoints.restore_meta if item == "meta" else restore
    with pytest.raises(UserError, match=r"checkpoints/1: damaged, or of another .*; use the"):
        read(folder)


def test_policies_that_cannot_be_kept_are_refused():
    config = base.get_config()
    config.train.update(checkpoint_every=400, keep_every=600)
    with pytest.raises(UserError, match=r"keep_every=600: must be a multiple of .*=400"):
        checks.check_sizes(config)
    config.train.update(keep_every=800, keep_best=1)
    checks.check_sizes(config)
    config.data.held_out = 0.0
    with pytest.raises(UserError, match=r"config\.train\.keep_best=1: .*config\.data\.held_out=0"):
        checks.check_sizes(config)


def test_the_code_s_version_and_commit(tmp_path):
    def git(*line: str) -> str:
        whole = ["git", "-C", tmp_path, "-c", "user.name=test", "-c", "user.email=test@localhost"]
        done = subprocess.run([*whole, *line], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    assert provenance.code(tmp_path / "elsewhere") == {"version": vidact.__version__}
    git("init", "-q")
    (tmp_path / "code.py").write_text("x = 1\n")
    git("add", "code.py")
    git("commit", "-q", "-m", "first")
    commit = git("rev-parse", "HEAD")
    assert provenance.code.__wrapped__(tmp_path) == {
        "version": vidact.__version__,
        "commit": commit,
    }
    (tmp_path / "code.py").write_text("x = 2\n")
    assert provenance.code.__wrapped__(tmp_path)["commit"] == f"{commit}-dirty"
