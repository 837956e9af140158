"""Writes a trained model as a folder that a robot's PyTorch loads, without JAX.

Examples:
  python -m vidact.export --checkpoint runs/quickstart/run --to exported
  python -m vidact.export --checkpoint runs/quickstart/run --to exported --step 1600 --overwrite
  python -m vidact.export --checkpoint runs/quickstart/run --to exported --verify
  python -m vidact.export --checkpoint runs/bridge --to exported --verify --config.data.root=DIR

The folder holds model.safetensors (the video branch under STDiT3's names behind `video.`, LoRA
factors folded into their kernels), codec.safetensors and config.json, and
`vidact.robot.policy.Policy.load` reads it. It appears in one piece at the end. --verify denoises
held-out frames (random ones where the data set is gone) in JAX and in PyTorch from the same noise,
30 steps, float32, jointly and as a policy; where they differ by more than 1e-3, nothing is written
and the exit code is 1.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import sys
from collections.abc import Iterator, Mapping

import numpy as np
import safetensors.numpy
from tqdm import tqdm

from vidact import command
from vidact.errors import UserError
from vidact.nn import flat, lora
from vidact.robot import config as robot_config

TOLERANCE = 1e-3
MODEL, CODEC, CONFIG = "model.safetensors", "codec.safetensors", "config.json"
ROBOT_KNOWS = {
    "encoder.kind": "linear",
    "encoder.text": "words",
    "model.family": "covar",
    "model.bridge_kind": "bridge",
    "model.bridge_every": 1,
    "model.visibility": "joint",
    "model.latent_chunk": 0,
    "model.decoder": "unet",
    "model.refiner_depth": 0,
    "model.imagine": True,
    "model.order": "together",
}
MAY_CHANGE = "root"  # of config.data: the data set may have moved


def main(arguments: list[str]) -> None:
    """Parses the command line, exports and verifies.

    Raises:
      UserError: an argument, the checkpoint or the target does not do.
    """
    parser = command.parser(__doc__, "python -m vidact.export")
    parser.add_argument("--checkpoint", required=True, help="work directory of a training run")
    parser.add_argument("--to", required=True, help="the folder to write")
    parser.add_argument("--step", type=int, help="which checkpoint; by default the newest")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export")
    parser.add_argument("--verify", action="store_true", help="compare PyTorch with JAX")
    options, overrides = parser.parse_known_args(arguments)
    target = pathlib.Path(options.to).absolute()
    check_target(target, options.overwrite)
    run = _load(options, overrides)
    with _whole(target, options.overwrite) as folder:
        write(run, folder)
        differences = verify(run, folder) if options.verify else None
        if differences and max(differences) > TOLERANCE:
            print(f"error: more than {TOLERANCE}; nothing was written", file=sys.stderr)
            sys.exit(1)
    print(f"exported step {run.step} to {options.to}")


def check_target(target: pathlib.Path, overwrite: bool) -> None:
    """Refuses to replace anything but an earlier export, and that only if asked.

    Raises:
      UserError: `target` exists.
    """
    if not target.exists():
        return
    if not overwrite:
        raise UserError(f"{target}: exists; choose another --to, or --overwrite an earlier export")
    files = {path.name for path in target.iterdir()} if target.is_dir() else set()
    if files != {MODEL, CODEC, CONFIG}:
        raise UserError(f"{target}: is no earlier export; choose another --to")


def write(run, folder: pathlib.Path) -> None:
    """Writes weights, codec and configuration of a loaded run into an existing folder."""
    from vidact.encoders.video import linear
    from vidact.interop import keys, names

    arrays = lora.merged(flat.parameters(run.model), run.config.model.lora_alpha)
    tensors = names.to_torch(keys.covar(run.config.model.patch), arrays)
    safetensors.numpy.save_file(tensors, folder / MODEL, metadata={"format": "pt"})
    linear.save(run.codec, folder / CODEC)
    text = json.dumps(describe(run).to_json(), indent=1)
    (folder / CONFIG).write_text(text + "\n")
    for name in (MODEL, CODEC):  # safetensors lets nobody but the writer read
        (folder / name).chmod((folder / CONFIG).stat().st_mode)


def describe(run) -> robot_config.RobotConfig:
    """What the robot has to know of a run."""
    from vidact.encoders.video.codec import latent_shape
    from vidact.models import registry

    config, known = run.config, registry.sizes(run.config)
    shift = known.shift(latent_shape(config)[:3])
    return robot_config.RobotConfig(
        model=sizes(dataclasses.replace(known, time_shift=shift)),
        fps=run.fps,
        frames=config.data.frames,
        resolution=tuple(config.data.resolution),
        normalisation=config.data.normalisation,
        statistics=dict(run.own),
        policy_steps=config.evaluate.steps,
        uses_text=bool(config.data.instruction_key),
        source_step=run.step,
    )


def sizes(config) -> robot_config.Sizes:
    """The sizes in a `CoVARConfig`, without its training switches."""
    names = [field.name for field in dataclasses.fields(robot_config.Sizes)]
    return robot_config.Sizes(**{name: getattr(config, name) for name in names})


def verify(run, folder: pathlib.Path) -> tuple[float, float]:
    """Prints and returns the largest differences of final latents and normalised actions.

    Args:
      run: the loaded run.
      folder: its export.
    """
    from vidact.interop import same_noise

    arrays, start = _starts(run), same_noise.noise(run)
    video, actions = 0.0, 0.0
    with tqdm(total=4, desc="verifying", unit="run", leave=False) as bar:
        for mode in ("joint", "policy"):
            wanted = same_noise.denoise(run, arrays, start, mode)
            bar.update()
            latents, chunk = _in_torch(folder, arrays, start, mode)
            bar.update()
            video = max(video, _largest(latents, wanted.latents))
            actions = max(actions, _largest(chunk, wanted.actions))
    print(f"torch max diff video: {video:.1e} actions: {actions:.1e}")
    return video, actions


def _starts(run) -> Mapping[str, np.ndarray]:
    """Held-out windows where the run's data set is there, else random frames."""
    from data_pipelines import pipeline
    from vidact.interop import same_noise

    config = run.config
    root, count = config.data.root, same_noise.SAMPLES
    if not (root and pathlib.Path(root).exists()):
        print(f"config.data.root={root!r}: not there; verifying on random frames", file=sys.stderr)
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


def _in_torch(folder, arrays, start, mode: str):
    """Final latents and normalised actions of the robot's model."""
    import torch

    from vidact.robot.covar import Observation, Request
    from vidact.robot.policy import Policy

    policy = Policy.load(folder)
    given = {k: torch.from_numpy(np.asarray(arrays[k])) for k in ("text_mask", "state", "fps")}
    observation = Observation(
        condition=policy.codec.encode(torch.from_numpy(arrays["video"][:, :1].copy())),
        text=torch.from_numpy(arrays["text"]),
        **given,
    )
    latents, actions = (torch.from_numpy(np.array(x)) for x in (start.latents, start.actions))
    result = policy.model.denoise(observation, latents, actions, Request(mode, steps=30))
    return [part.numpy() for part in result]


def _largest(found, wanted) -> float:
    difference = np.abs(found - np.asarray(wanted)).max()
    return float(difference) if np.isfinite(difference) else float("inf")


def _load(options: argparse.Namespace, overrides: list[str]):
    from vidact.training import runs

    run = runs.load(options.checkpoint, options.step)
    config = command.override(run.config, overrides)
    plain = [json.loads(json.dumps(c.to_dict())) for c in (run.config, config)]
    for values in plain:
        values["data"].pop(MAY_CHANGE)
    for key, known in ROBOT_KNOWS.items():
        section, name = key.split(".")
        if config[section][name] != known:
            raise UserError(
                f"config.{key}={config[section][name]!r}: vidact/robot knows {known!r} only; "
                "export a model that was trained so"
            )
    difference = runs.first_difference(*plain)
    if difference:
        raise UserError(
            f"{difference}: belongs to the checkpoint; only config.data.root may change"
        )
    return dataclasses.replace(run, config=config)


@contextlib.contextmanager
def _whole(target: pathlib.Path, overwrite: bool) -> Iterator[pathlib.Path]:
    """A folder that takes the place of `target` if nothing goes wrong, else goes away."""
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    earlier = target.with_name(f".{target.name}.earlier-{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
    except OSError as error:
        raise UserError(f"{target}: {error.strerror}; choose another --to") from error
    try:
        yield partial
        check_target(target, overwrite)  # again, since writing took a while
        if target.exists():
            target.rename(earlier)
        partial.rename(target)
        shutil.rmtree(earlier, ignore_errors=True)
    finally:
        if earlier.exists() and not target.exists():
            earlier.rename(target)
        shutil.rmtree(partial, ignore_errors=True)


if __name__ == "__main__":
    command.run(main)
