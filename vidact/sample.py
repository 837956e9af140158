r"""Samples held-out windows of a trained run in one of five modes, or in all of them.

Examples:
  python -m vidact.sample --checkpoint runs/quickstart/run
  python -m vidact.sample --checkpoint runs/quickstart/run --mode forward --count 4 --out forward
  python -m vidact.sample --checkpoint runs/quickstart/run --config.evaluate.sample_steps=50 \
      --config.evaluate.action_steps=10
  python -m vidact.sample --checkpoint runs/quickstart/run --write-coarse --count 450

Modes: joint (video and actions from noise), policy (actions, the future video unknown), video
(video alone), forward (video given the actions), inverse (actions given the video). The first
frame, the state and the instruction are always given. Each mode writes to --out:
  MODE.npz        video uint8 [N, T, H, W, 3], latents, actions [N, Ta, A] in the data set's units,
                  and the recorded true_video and true_actions
  MODE.json       which windows they are, their instructions and actions
  MODE-I.webp     a loop, recorded left and generated right, where the mode generates video
--write-coarse samples the actions of --count windows of all episodes instead and writes them beside
the data set, for training a refiner (configs/libero90_refine.py). FILE.json says what they were
sampled from; training on other data, windows or actions refuses them.
Of several data sets config.evaluate.data_set names one. Data that the run was not trained on, or
that changed since, are refused unless --other-data says that they are meant; results name them.
What may be changed: config.evaluate.* (steps and guidance of each modality among them),
config.data.root, encoded and cache_mb, and the folders of encoders.
"""

import argparse
import pathlib
import time
from typing import Any

import jax
import numpy as np
from jaxtyping import Int
from tqdm import tqdm

from data_pipelines.pipeline import WindowDataset
from vidact import command
from vidact.batch import Batch
from vidact.errors import UserError
from vidact.evaluation import coarse, members, opening, sampling
from vidact.evaluation.files import SAMPLES, beside, save_loop, together, write_json
from vidact.evaluation.sampling import Samples, sample_windows
from vidact.processes import support
from vidact.processes.joint_time import MODES
from vidact.training.runs import Run

__all__ = ["main", "sample_windows"]


def main(arguments: list[str]) -> None:
    """Runs the command.

    Raises:
      UserError: the run or its data cannot be read, or an argument is wrong.
    """
    options, overrides = _parser().parse_known_args(arguments)
    if options.count < 1:
        raise UserError(f"--count {options.count}: must be at least 1")
    run = opening.open_run(options.checkpoint, options.step, overrides)
    out = options.out or options.checkpoint / SAMPLES
    if options.write_coarse is not None:
        if options.mode != "all" or options.out or options.other_data:
            raise UserError("--write-coarse: takes no --mode, --out or --other-data; omit them")
        _write_coarse(run, options.write_coarse, options.count)
        return
    command.check_writable(out)
    config = run.config.evaluate
    dataset = opening.held_out(run, options.other_data)
    indices = opening.full_windows(dataset, options.count)
    batch = dataset.load(indices)
    modes = _modes(run, options.mode)
    for mode in tqdm(modes, desc="sampling", unit="mode"):
        began = time.monotonic()
        key = jax.random.fold_in(jax.random.key(config.seed), MODES.index(mode))
        samples = sample_windows(run, batch, mode, config.sample_steps, key)
        facts = {
            "mode": mode,
            "step": run.step,
            "data_set": members.told(run, dataset.source),
            "parameters": sampling.parameters(run),
            "sample_steps": config.sample_steps,
            "seed": config.seed,
            "fps": run.fps,
            "seconds": time.monotonic() - began,
        }
        _write(out, facts, _describe(dataset, indices), _true_actions(run, batch), batch, samples)
        tqdm.write(f"{mode}: {len(indices)} windows in {facts['seconds']:.1f} s, {out / mode}.npz")


def _write_coarse(run: Run, file: str, count: int) -> None:
    path = pathlib.Path(file or coarse.beside(run.config.data.root))
    command.check_writable(path.parent)
    number, lacking = coarse.write(run, path, count)
    print(f"wrote coarse actions of {number} windows to {path}")
    if lacking:
        print(f"windows left out: {lacking}; {path}.json says why")


def _modes(run: Run, asked: str) -> tuple[str, ...]:
    model = run.config.model
    known = support.modes(model.times, model.mode_share) if model.imagine else ("policy",)
    if asked not in (*known, "all"):
        raise UserError(f"--mode {asked}: not what this model trained; choose {', '.join(known)}")
    return known if asked == "all" else (asked,)


def _describe(dataset: WindowDataset, indices: Int[np.ndarray, " n"]) -> list[dict[str, Any]]:
    found = []
    for index in indices:
        window = dataset.windows.at(np.array([index]))
        number, start = int(window.episodes[0]), int(window.starts[0])
        episode = dataset.source.episode(number)
        found.append(
            {
                "task": opening.task_of(episode) or opening.data_set_name(dataset, number),
                "instruction": episode.instructions[start],
                "episode": number,
                "start": start,
            }
        )
    return found


def _true_actions(run: Run, batch: Batch) -> np.ndarray:
    return sampling.in_robot_units(run, batch.actions, batch.dataset_id)


def _write(
    out: pathlib.Path,
    facts: dict[str, Any],
    windows: list[dict[str, Any]],
    true_actions: np.ndarray,
    batch: Batch,
    samples: Samples,
) -> None:
    """Writes what one mode gave, all of it or nothing; loops of earlier samples go."""
    mode = facts["mode"]
    video, actions = sampling.generates(mode)
    with together(out, f"{mode}.json") as place:
        np.savez_compressed(
            place / f"{mode}.npz",
            video=samples.video,
            latents=samples.latents,
            actions=samples.actions,
            true_video=batch.pixels,
            true_actions=true_actions,
        )
        for i, window in enumerate(windows):
            window["true_actions"] = true_actions[i]
            if actions:
                window["actions"] = samples.actions[i]
            if video:
                window["loop"] = f"{mode}-{i}.webp"
                both = beside(batch.pixels[i], samples.video[i])
                save_loop(place / window["loop"], both, facts["fps"] / 2)
        write_json(place / f"{mode}.json", facts | {"windows": windows})
    for loop in set(out.glob(f"{mode}-*.webp")) - {out / w["loop"] for w in windows if video}:
        loop.unlink()


def _parser() -> argparse.ArgumentParser:
    parser = command.parser(__doc__, "python -m vidact.sample")
    parser.add_argument("--checkpoint", required=True, type=pathlib.Path, help="work directory")
    parser.add_argument("--step", type=int, help="of the checkpoint; the newest by default")
    parser.add_argument("--mode", default="all", choices=(*MODES, "all"), help="%(default)s")
    parser.add_argument(
        "--write-coarse", nargs="?", const="", metavar="FILE", help="beside the data set by default"
    )
    parser.add_argument("--count", default=8, type=int, help="windows; %(default)s")
    parser.add_argument("--other-data", action="store_true", help="sample windows of other data")
    parser.add_argument("--out", type=pathlib.Path, help=f"CHECKPOINT/{SAMPLES} by default")
    return parser


if __name__ == "__main__":
    command.run(main)
