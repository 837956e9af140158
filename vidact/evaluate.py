"""Measures a trained run: success in the simulator, PSNR gains and action errors on held-out data.

Examples:
  python -m vidact.evaluate --checkpoint runs/quickstart/run
  python -m vidact.evaluate --checkpoint runs/quickstart/run --config.evaluate.rollouts=20
  python -m vidact.evaluate --checkpoint runs/bridge --config.evaluate.tasks='()'
  python -m vidact.evaluate --checkpoint runs/libero90_refine --refine

The policy sees the image, the instruction, and the hand's position and gripper. Per task, success
within 500 simulator steps is printed with its 95 % Wilson interval, beside blind replay of the mean
training demonstration and the scripted expert on the same held-out starts. The windows are the
run's held-out ones, of several data sets those of config.evaluate.data_set; hold-still is the zero
action, mean-action the training's mean. Results are also written to DIR/evaluation.json, and a film
of the first rollouts of each task to DIR/rollouts.
Data that the run was not trained on, or that changed since, are refused unless --other-data says
that they are meant; results name them then.
--refine also compares the actions before and after the model's refiner, on held-out windows.
What may be changed: config.evaluate.* (steps and guidance of each modality among them),
config.data.root, encoded and cache_mb, and the folders of encoders.
"""

import argparse
import dataclasses
import math
import pathlib
import time
from typing import Any

from vidact import command
from vidact.errors import UserError
from vidact.evaluation import coarse, members, offline, opening, sampling, success
from vidact.evaluation.files import EVALUATION, ROLLOUTS, save_loop, write_json
from vidact.evaluation.offline import Offline
from vidact.evaluation.success import TaskSuccess
from vidact.training.runs import Run

FILMS_PER_TASK = 2


def main(arguments: list[str]) -> None:
    """Runs the command.

    Raises:
      UserError: the run or its data cannot be read, an argument is wrong, or the simulator is
        missing.
    """
    options, overrides = _parser().parse_known_args(arguments)
    began = time.monotonic()
    run = opening.open_run(options.checkpoint, options.step, overrides)
    command.check_writable(run.workdir)  # rollouts take minutes
    if run.config.evaluate.tasks:
        success.check(run)
    if options.refine and not run.config.model.refiner_depth:
        raise UserError("--refine: the model has no refiner; train configs/libero90_refine.py")
    dataset = opening.held_out(run, options.other_data)
    measured = members.told(run, dataset.source)
    print(f"held-out episodes of {measured}", flush=True)
    tasks = _measure_success(run, dataset)
    rolled_out = time.monotonic()
    metrics = offline.measure(run, dataset)
    _print_offline(metrics)
    refined = coarse.refinement(run, dataset) if options.refine else None
    if refined:
        print(f"action error coarse: {refined[0]:.4f} refined: {refined[1]:.4f}")
    now = time.monotonic()
    seconds = {"rollouts": rolled_out - began, "held_out": now - rolled_out, "all": now - began}
    (run.workdir / EVALUATION).unlink(missing_ok=True)  # it names films that are replaced now
    facts = {"step": run.step, "data_set": measured}
    write_json(run.workdir / EVALUATION, facts | _result(run, tasks, metrics, refined, seconds))
    print(f"wrote {run.workdir / EVALUATION}")


def _measure_success(run: Run, dataset) -> list[TaskSuccess]:
    if not run.config.evaluate.tasks:
        print("rollouts: none, config.evaluate.tasks is ()")
        return []
    tasks = []
    for task in success.measure(run, dataset, FILMS_PER_TASK):
        print(task.line(), flush=True)
        tasks.append(task)
    print(f"mean success: {_mean([task.rate for task in tasks]):.2f}")
    distances = [task.nearest_start_m for task in tasks if task.nearest_start_m is not None]
    nearest = f"{min(distances):.4f} m" if distances else "not recorded in the data set"
    print(f"nearest recorded start: {nearest}", flush=True)
    return tasks


def _print_offline(metrics: Offline) -> None:
    gain, moving = metrics.psnr_gain_db, metrics.moving_psnr_gain_db
    if not math.isnan(gain):  # a model may imagine no video
        print(f"psnr gain over first frame: {gain:.2f} dB (moving pixels {moving:.2f} dB)")
    print(f"codec psnr: {metrics.codec_psnr_db:.1f} dB")
    for task, errors in metrics.action_errors.items():
        print(
            f"{task} action error: {errors['model']:.3f} hold-still: {errors['hold_still']:.3f} "
            f"mean-action: {errors['mean_action']:.3f}"
        )


def _result(
    run: Run,
    tasks: list[TaskSuccess],
    metrics: Offline,
    refined: tuple[float, float] | None,
    seconds: dict[str, float],
) -> dict[str, Any]:
    """What evaluation.json holds beside the checkpoint and the data set."""
    return {
        "parameters": sampling.parameters(run),
        "settings": run.config.evaluate.to_dict(),
        "tasks": [_task(run, task) for task in tasks],
        "mean_success": _mean([task.rate for task in tasks]) if tasks else None,
        "held_out": dataclasses.asdict(metrics),
        "refinement": refined and {"coarse": refined[0], "refined": refined[1]},
        "seconds": seconds,
    }


def _task(run: Run, task: TaskSuccess) -> dict[str, Any]:
    """A task's numbers; its films go to files."""
    names = []
    for number, film in enumerate(task.films):
        path = run.workdir / ROLLOUTS / f"{task.task}-{number}.webp"
        save_loop(path, film, run.fps / run.config.evaluate.execute)
        names.append(str(path.relative_to(run.workdir)))
    numbers = {f.name: getattr(task, f.name) for f in dataclasses.fields(task) if f.name != "films"}
    return numbers | {"films": names}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _parser() -> argparse.ArgumentParser:
    parser = command.parser(__doc__, "python -m vidact.evaluate")
    parser.add_argument("--checkpoint", required=True, type=pathlib.Path, help="work directory")
    parser.add_argument("--step", type=int, help="of the checkpoint; the newest by default")
    parser.add_argument("--other-data", action="store_true", help="measure on other data")
    parser.add_argument("--refine", action="store_true", help="measure the refiner too")
    return parser


if __name__ == "__main__":
    command.run(main)
