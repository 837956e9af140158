r"""Writes a trained model as a folder that a robot's PyTorch loads, without JAX.

Examples:
  python -m vidact.export --checkpoint runs/quickstart/run --to exported
  python -m vidact.export --checkpoint runs/quickstart/run --to exported --step 1600 --overwrite
  python -m vidact.export --checkpoint runs/quickstart/run --to exported --verify
  python -m vidact.export --checkpoint runs/bridge --to exported --verify --config.data.root=DIR
  python -m vidact.export --checkpoint runs/covar --to exported \
      --config.evaluate.action_steps=10 --config.evaluate.data_set=bridge_dataset

The folder holds model.safetensors (the video branch under STDiT3's names behind `video.`, LoRA
factors folded into their kernels), codec.safetensors and config.json, and
`vidact.robot.policy.Policy.load` reads it. It appears in one piece at the end.

The robot samples as `vidact.evaluate` does with the same config.evaluate: mode, steps and guidance
of each modality. Where evaluation.json of the same step says otherwise, nothing is written. Of a
run on several data sets, config.evaluate.data_set names the one whose robot is meant: its
statistics and columns. What may be changed is what `vidact.evaluate` lets change.

--verify denoises windows of the data (random frames where it is gone) in JAX and in PyTorch from
the same noise, 30 steps (of actions as many as config.evaluate.action_steps says), float32, guided
as exported, jointly and as a policy; where they differ by more than 1e-3, nothing is written and
the exit code is 1.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import sys
from collections.abc import Iterator

import safetensors.numpy

from vidact import command
from vidact.errors import UserError
from vidact.nn import flat, lora
from vidact.robot import config as robot_config
from vidact.robot import sampling

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
# Of config.evaluate, what decides how the policy acts.
ACTS = ("mode", "steps", "action_steps", "video_guidance", "action_guidance", "data_set")


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
        if options.verify and not _agrees(run, folder):
            print(f"error: more than {TOLERANCE}; nothing was written", file=sys.stderr)
            sys.exit(1)
    print(f"exported step {run.step} to {options.to}")


def _agrees(run, folder: pathlib.Path) -> bool:
    from vidact import export_agreement  # needs PyTorch

    differences = export_agreement.measure(run, folder, acting(run.config))
    return max(differences) <= TOLERANCE


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
    """Writes weights, codec and configuration of a loaded run into an existing folder.

    Raises:
      UserError: of several data sets none is named, or the robot cannot sample as the run is
        evaluated.
    """
    from vidact.encoders.video import linear
    from vidact.interop import keys, names

    arrays = lora.merged(flat.parameters(run.model), run.config.model.lora_alpha)
    tensors = names.to_torch(keys.covar(run.config.model.patch), arrays)
    safetensors.numpy.save_file(tensors, folder / MODEL, metadata={"format": "pt"})
    linear.save(run.codec, folder / CODEC)
    text = json.dumps(describe(run).to_json(), indent=1)
    (folder / CONFIG).write_text(text + "\n")
    (folder / MODEL).chmod(0o644)  # safetensors lets nobody but the writer read


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
        sampling=acting(config),
        data_set=run.data_set,
        uses_text=bool(config.data.instruction_key),
        source_step=run.step,
    )


def acting(config) -> sampling.Request:
    """How the policy of a run with this configuration is evaluated, see `evaluation.policy`.

    Raises:
      UserError: the robot's model cannot sample so.
    """
    from vidact.evaluation.sampling import request

    settings = config.evaluate
    if settings.mode not in sampling.ACTING:
        raise UserError(
            f"config.evaluate.mode={settings.mode!r}: makes no actions from what a robot sees; "
            f"choose one of {', '.join(sampling.ACTING)}"
        )
    found = request(config, settings.mode, settings.steps)
    names = [field.name for field in dataclasses.fields(sampling.Request)]
    try:
        return sampling.Request(**{name: getattr(found, name) for name in names})
    except ValueError as error:
        raise UserError(f"config.evaluate.{error}; change it") from error


def sizes(config) -> robot_config.Sizes:
    """The sizes in a `CoVARConfig`, without its training switches."""
    names = [field.name for field in dataclasses.fields(robot_config.Sizes)]
    return robot_config.Sizes(**{name: getattr(config, name) for name in names})


def _load(options: argparse.Namespace, overrides: list[str]):
    from vidact.evaluation import opening

    run = opening.open_run(options.checkpoint, options.step, overrides)
    for key, known in ROBOT_KNOWS.items():
        section, name = key.split(".")
        if run.config[section][name] != known:
            raise UserError(
                f"config.{key}={run.config[section][name]!r}: vidact/robot knows {known!r} only; "
                "export a model that was trained so"
            )
    if not len(run.own["action"].mean):
        raise UserError(
            f"config.evaluate.data_set={run.data_set!r}: has no actions; name a robot's"
        )
    _check_evaluated(run)
    return run


def _check_evaluated(run) -> None:
    """Refuses to let the robot act otherwise than this checkpoint was last evaluated."""
    from vidact.evaluation import files

    path = run.workdir / files.EVALUATION
    found = files.read_json(path)
    if found is None or found.get("step") != run.step:
        return
    for name in ACTS:
        was, now = found.get("settings", {}).get(name), run.config.evaluate[name]
        if was is not None and was != now:
            raise UserError(
                f"config.evaluate.{name}={now!r}: {path} was measured with {was!r}; add "
                f"--config.evaluate.{name}={was}, or evaluate again with {now!r}"
            )


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
