"""Whether an export computes in PyTorch what the run computes in JAX, from the same noise."""

import dataclasses
import pathlib
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from data_pipelines import opening, pipeline
from vidact.inputs import Chunk
from vidact.interop import same_noise
from vidact.robot.covar import Observation
from vidact.robot.policy import Policy
from vidact.robot.sampling import Request
from vidact.training.runs import Run

STEPS = 30


def measure(run: Run, folder: pathlib.Path, acting: Request) -> tuple[float, float]:
    """Prints and returns the largest differences of final latents and normalised actions.

    Args:
      run: the loaded run.
      folder: its export.
      acting: how the robot samples; modes and steps are those of this comparison.
    """
    arrays, start = _starts(run), same_noise.noise(run)
    video, actions = 0.0, 0.0
    with tqdm(total=4, desc="verifying", unit="run", leave=False) as bar:
        for mode in ("joint", "policy"):
            request = dataclasses.replace(acting, mode=mode, steps=STEPS)
            wanted = same_noise.denoise(run, arrays, start, **dataclasses.asdict(request))
            bar.update()
            latents, chunk = _in_torch(folder, arrays, start, request)
            bar.update()
            video = max(video, _largest(latents, wanted.latents))
            actions = max(actions, _largest(chunk, wanted.actions))
    print(f"torch max diff video: {video:.1e} actions: {actions:.1e}")
    return video, actions


def _starts(run: Run) -> Mapping[str, np.ndarray]:
    """Held-out windows where the run's data sets are there, else random frames."""
    config, count = run.config, same_noise.SAMPLES
    for spec, _, _ in opening.named(config.data):
        folder = spec.rpartition(":")[2]
        if not (folder and pathlib.Path(folder).exists()):
            print(f"{spec!r}: no data set; verifying on random frames", file=sys.stderr)
            return same_noise.random_frames(run)
    split = "held_out" if config.data.held_out else "train"
    data = pipeline.make_dataset(
        config.data,
        seed=config.seed,
        batch_size=count,
        split=split,
        statistics=list(run.statistics.values()),
    )
    return data.load(np.linspace(0, len(data) - 1, count).astype(np.int64)).as_dict()


def _in_torch(
    folder: pathlib.Path, arrays: Mapping[str, np.ndarray], start: Chunk, request: Request
) -> list[np.ndarray]:
    """Final latents and normalised actions of the robot's model."""
    policy = Policy.load(folder)
    given = {k: torch.from_numpy(np.asarray(arrays[k])) for k in ("text_mask", "state", "fps")}
    observation = Observation(
        condition=policy.codec.encode(torch.from_numpy(arrays["video"][:, :1].copy())),
        text=torch.from_numpy(arrays["text"]),
        **given,
    )
    latents, actions = (torch.from_numpy(np.array(x)) for x in (start.latents, start.actions))
    result = policy.model.denoise(observation, latents, actions, request)
    return [part.numpy() for part in result]


def _largest(found: np.ndarray, wanted: Any) -> float:
    difference = np.abs(found - np.asarray(wanted)).max()
    return float(difference) if np.isfinite(difference) else float("inf")
