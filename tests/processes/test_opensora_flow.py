"""Times, sampling and training inputs are Open-Sora 1.2's, by numbers of the original code."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidact.processes import opensora_flow, rectified_flow

GOLDEN = pathlib.Path(__file__).parents[1] / "goldens/opensora/scheduler.npz"
PLAIN = ("s30", "s5", "s5_notransform", "s30_17f_256", "s5_17f_256")
MASKED = ("s30_i2v", "s5_i2v", "s5_i2v_240x426_51f", "s30_edit")
SETTINGS = ("steps", "height", "width", "num_frames", "transform", "cfg_scale")


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return {name: file[name] for name in file.files}


def latents(array):
    """[..., C, T, H, W] -> [..., T, H, W, C]."""
    return jnp.asarray(np.moveaxis(array, -4, -1))


def toy(z, t, x_mask, scale=1.0, given=True):
    """The velocity that stood in for a model, with its guidance (scheduler_config.json, toy)."""
    rest = 0.3 * jnp.sin(3 * t) - 0.2 * z + 0.1 * given * x_mask[:, :, None, None, None]
    free, conditional = 0.75 * jnp.tanh(z) + rest, jnp.tanh(z) + rest
    return free + scale * (conditional - free)


def run_of(golden, name):
    """A trajectory's arrays and settings; noise that no frame should use is NaN."""
    prefix = f"traj/{name}/"
    found = {k.removeprefix(prefix): v for k, v in golden.items() if k.startswith(prefix)}
    steps, height, width, frames, transform, scale = found["settings"].tolist()
    times = opensora_flow.times(int(steps), height, width, int(frames), bool(transform))
    return found, times, scale


@pytest.mark.parametrize("name", PLAIN + MASKED)
def test_times_of_each_trajectory(golden, name):
    found, times, _ = run_of(golden, name)
    assert times.dtype == np.float32 and times[0] == 1 and times[-1] == 0
    difference = np.abs(1000.0 * times[:-1, None] - found["t"]).max()
    print(f"{name}: {difference:.1e}")
    assert difference <= 1e-3


@pytest.mark.parametrize("name", PLAIN + MASKED)
def test_trajectories(golden, name):
    found, times, scale = run_of(golden, name)
    given = "mask" in found
    frames = {}
    if given:
        unused = np.full((len(times) - 1, *found["z0"].shape), np.nan, np.float32)
        frames = dict(mask=jnp.asarray(found["mask"]), noise=latents(found.get("noise", unused)))

    def velocity(z, t, x_mask):
        return toy(z, t, x_mask, scale, given)

    sample = jax.jit(lambda z, **frames: opensora_flow.sample(velocity, z, times, **frames))
    out = sample(latents(found["z0"]), **frames)
    difference = np.abs(out - latents(found["out"])).max()
    print(f"{name}: {difference:.1e}")
    assert difference <= 1e-5


@pytest.mark.parametrize("name", MASKED)
def test_frames_that_take_part_in_each_step(golden, name):
    found, times, _ = run_of(golden, name)
    seen = []

    def velocity(z, t, x_mask):
        jax.debug.callback(lambda m: seen.append(np.asarray(m)), x_mask, ordered=True)
        return jnp.zeros_like(z)

    z, mask = latents(found["z0"]), jnp.asarray(found["mask"])
    opensora_flow.sample(velocity, z, times, mask, key=jax.random.key(0)).block_until_ready()
    jax.effects_barrier()
    np.testing.assert_array_equal(seen, found["x_mask"])


def test_timestep_transform(golden):
    worst, refused = 0.0, 0
    for height, width, frames, t, wanted in golden["timestep_transform"].tolist():
        if 1 < frames < 17:
            refused += 1
            with pytest.raises(ValueError, match="at least 17"):
                opensora_flow.shift(t / 1000, height, width, int(frames))
            continue
        moved = opensora_flow.shift(t / 1000, height, width, int(frames))
        worst = max(worst, abs(1000 * float(moved) - wanted))
    print(f"{worst:.1e}, {refused} refused")
    assert worst <= 1e-3


def test_each_sample_has_its_own_time_and_size():
    t, height, width = (jnp.asarray(a, jnp.float32) for a in ([0.5, 0.5, 1, 0], [256] * 4, [426]))
    together = jax.jit(lambda t, h, w: opensora_flow.shift(t, h, w, 51))(t, height, width)
    alone = [opensora_flow.shift(float(now), 256, 426, 51) for now in t]
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert together[2] == 1 and together[3] == 0


def test_the_first_time_is_one_at_every_size():
    """Open-Sora's float32 passes 1000 at some of these, e.g. 64x64 with 17 frames."""
    sizes = np.arange(64, 1281, 8, dtype=np.float32)
    for frames in (1, 17):
        t = opensora_flow.shift(np.float32(1), sizes[:, None], sizes[None], frames)
        assert (np.asarray(t) == 1).all()
    z = jax.random.normal(jax.random.key(0), (1, 5, 2, 2, 4))
    times = opensora_flow.times(3, 64, 64, 17)
    free = opensora_flow.sample(toy, z, times)
    unused = jnp.full((3, *z.shape), jnp.nan)
    masked = opensora_flow.sample(toy, z, times, jnp.ones((1, 5)), noise=unused)
    np.testing.assert_array_equal(free, masked)


def test_given_frames_stay_and_the_key_serves_edited_frames_alone():
    z = jax.random.normal(jax.random.key(0), (1, 3, 2, 2, 4))
    times = opensora_flow.times(4, 256, 256, 17)
    mask = jnp.asarray([[0.0, 0.6, 1.0]])
    out = [opensora_flow.sample(toy, z, times, mask, key=jax.random.key(i)) for i in (1, 2, 1)]
    np.testing.assert_array_equal(out[0], out[2])
    np.testing.assert_array_equal(out[0][:, 0], z[:, 0])
    np.testing.assert_array_equal(out[0][:, 2], out[1][:, 2])
    assert not np.allclose(out[0][:, 1], out[1][:, 1], atol=0.01)


def test_reduced_precision_stays():
    z = jnp.ones((1, 2, 2, 2, 4), jnp.bfloat16)
    mask = jnp.asarray([[0.5, 1.0]])
    out = opensora_flow.sample(
        toy, z, np.array([1, 0.5, 0], np.float32), mask, key=jax.random.key(0)
    )
    assert out.dtype == jnp.bfloat16


def test_a_mask_asks_for_noise():
    z, times = jnp.zeros((1, 2, 2, 2, 4)), np.array([1, 0], np.float32)
    with pytest.raises(ValueError, match="noise or key"):
        opensora_flow.sample(toy, z, times, jnp.ones((1, 2)))


@pytest.mark.parametrize("case", ["nomask", "mask"])
def test_training(golden, case):
    x0, noise = latents(golden["train/x0"]), latents(golden["train/noise"])
    mask = golden["train/mask"] if case == "mask" else np.ones_like(golden["train/mask"])
    t = jnp.asarray(golden["train/t"])[:, None] / 1000
    model_in = rectified_flow.interpolate(x0, noise, jnp.where(mask, t, 0))
    predicted = toy(model_in, t[..., None, None, None], mask, given=case == "mask")
    losses = opensora_flow.loss(predicted, x0, noise, jnp.asarray(mask))
    apart = np.abs(model_in - latents(golden[f"train/model_in_{case}"])).max()
    difference = np.abs(losses - golden[f"train/loss_{case}"]).max()
    print(f"{case}: inputs {apart:.1e}, losses {difference:.1e}")
    assert apart <= 1e-6 and difference <= 1e-6


def test_logit_normal(golden):
    t = np.asarray(opensora_flow.logit_normal(jax.random.key(0), (100_000,)))
    found = [t.mean(), t.std(), *np.quantile(t, [0.05, 0.25, 0.5, 0.75, 0.95])]
    np.testing.assert_allclose(found, golden["logit_normal"], atol=5e-3)


def test_the_golden_is_the_fixture(shared, golden):
    folder = shared / "fixtures/opensora"
    config = json.loads((folder / "scheduler_config.json").read_text())
    with np.load(folder / "scheduler_io.npz") as file:
        rows = file["timestep_transform/h_w_n_t_newt"]
        np.testing.assert_array_equal(golden["timestep_transform"], rows)
        for name in (n for n in golden if n.startswith("train/")):
            np.testing.assert_array_equal(golden[name], file[name])
        for name in PLAIN + MASKED:
            found, _, _ = run_of(golden, name)
            settings = config[f"traj/{name}/"]
            assert found.pop("settings").tolist() == [settings[key] for key in SETTINGS]
            used = found.pop("noise", np.float32(np.nan))
            assert all(np.array_equal(v, file[f"traj/{name}/{k}"]) for k, v in found.items())
            if not np.isnan(used).all():
                whole = file[f"traj/{name}/noise"]
                np.testing.assert_array_equal(used, np.where(np.isnan(used), used, whole))
    strategies = config["apply_mask_strategy"]
    assert golden["strategies/names"].tolist() == list(strategies)
    for index, case in enumerate(strategies.values()):
        for part in ("mask", "z_ch0"):
            wanted = np.array(case[part], np.float32)
            np.testing.assert_array_equal(golden[f"strategies/{part}"][index], wanted)
