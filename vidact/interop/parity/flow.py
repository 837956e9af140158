"""Open-Sora 1.2's rectified flow with a toy velocity in the model's place (specs/opensora.md 4)."""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vidact.errors import UserError
from vidact.interop.parity import cases as dumps
from vidact.interop.parity.cases import Case, compare
from vidact.processes import opensora_flow, rectified_flow

TIME = 1e-3  # on the scale 0..1000
TRAJECTORY = 1e-5


def cases(folder: pathlib.Path) -> Iterator[Case]:
    """Times, trajectories and the training loss of scheduler_io.npz."""
    if not (folder / "scheduler_io.npz").is_file():
        return
    io = dumps.arrays(folder / "scheduler_io.npz")
    if "timestep_transform/h_w_n_t_newt" in io:
        yield _transform(io["timestep_transform/h_w_n_t_newt"])
    settings = dumps.settings(folder / "scheduler_config.json")
    for case in dumps.folders(io, "/z0"):
        if f"{case}/" not in settings:
            raise UserError(
                f"{folder / 'scheduler_config.json'}: says nothing of {case}/; copy it again"
            )
        yield from _trajectory(case, settings[f"{case}/"], dumps.under(io, f"{case}/"))
    yield from _training(dumps.under(io, "train/"))


def _transform(rows: np.ndarray) -> Case:
    """Rows of height, width, frames, t and t'; those of 2..16 frames, all 0 there, we refuse."""
    rows = rows[(rows[:, 2] == 1) | (rows[:, 2] >= 17)]
    found = [
        opensora_flow.shift(t / 1000, height, width, int(frames))
        for height, width, frames, t, _ in rows.tolist()
    ]
    return compare("scheduler timestep_transform", 1000 * np.array(found), rows[:, 4], TIME)


def _toy(z, t, x_mask, scale: float = 1.0):
    """The dumps' velocity, whose text is worth 1, and guidance by the null text, worth 0.75."""
    rest = 0.3 * jnp.sin(3 * t) - 0.2 * z
    if x_mask is not None:
        rest = rest + 0.1 * x_mask[:, :, None, None, None]
    free, conditional = 0.75 * jnp.tanh(z) + rest, jnp.tanh(z) + rest
    return free + scale * (conditional - free)


def _trajectory(
    case: str, settings: Mapping[str, Any], found: Mapping[str, np.ndarray]
) -> Iterator[Case]:
    """The times and the end of one sampling run."""
    times = opensora_flow.times(
        len(found["t"]),
        settings["height"],
        settings["width"],
        settings["num_frames"],
        settings["transform"],
    )
    at = np.broadcast_to(1000.0 * times[:-1, None], found["t"].shape)
    yield compare(f"scheduler {case} times", at, found["t"], TIME)
    given: dict[str, jax.Array] = {}
    if "mask" in found:
        given = dict(mask=jnp.asarray(found["mask"]), noise=_last(found["noise"]))

    def velocity(z, t, x_mask):
        return _toy(z, t, x_mask if given else None, settings["cfg_scale"])

    out = jax.jit(lambda z, **given: opensora_flow.sample(velocity, z, times, **given))(
        _last(found["z0"]), **given
    )
    yield compare(f"scheduler {case}", out, _last(found["out"]), TRAJECTORY)


def _training(found: Mapping[str, np.ndarray]) -> Iterator[Case]:
    """What the model sees in training, and its loss, with and without clean frames."""
    for case in ("nomask", "mask"):
        if f"loss_{case}" not in found:
            continue
        x0, noise, t = _last(found["x0"]), _last(found["noise"]), found["t"][:, None] / 1000
        mask = found["mask"] if case == "mask" else np.ones_like(found["mask"])
        noisy = rectified_flow.interpolate(x0, noise, jnp.where(mask, t, 0))
        wanted = _last(found[f"model_in_{case}"])
        yield compare(f"scheduler train {case} input", noisy, wanted, TRAJECTORY)
        at = jnp.asarray(t)[..., None, None, None]
        predicted = _toy(noisy, at, jnp.asarray(mask) if case == "mask" else None)
        loss = opensora_flow.loss(predicted, x0, noise, jnp.asarray(mask))
        yield compare(f"scheduler train {case} loss", loss, found[f"loss_{case}"], TRAJECTORY)


def _last(x: np.ndarray) -> jax.Array:
    """[..., C, T, H, W] to [..., T, H, W, C]."""
    return jnp.asarray(np.moveaxis(x, -4, -1))
