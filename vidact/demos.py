r"""Records demonstrations by Meta-World's scripted experts as a TFDS/RLDS data set.

Examples:
  python -m vidact.demos --out runs/metaworld_wide/1.0.0
  python -m vidact.demos --out runs/six_tasks/1.0.0 --config configs/metaworld.py
  python -m vidact.demos --out runs/push/1.0.0 --config.demos.tasks="('push',)" \
      --config.demos.episodes=50 --config.demos.starts=stock

config.demos says what is recorded. Seeds count upwards from config.demos.seed; evaluations use
seeds that no recording uses. An episode that the expert does not solve is dropped and counted. The
data set appears in one piece at the end; where the same recording is there already, nothing is
done.
"""

import argparse
import json
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import ml_collections
import numpy as np
import tensorflow_datasets as tfds
import tqdm

from data_pipelines import rlds_writer
from vidact import command
from vidact.errors import UserError
from vidact.simulators import recording, tasks

QUICKSTART = "configs/quickstart.py"
START = tfds.features.Tensor(shape=(None,), dtype=np.float32)
FEATURES = rlds_writer.features(
    image_shape=(64, 64, 3),
    state_size=4,
    action_size=4,
    metadata={
        "task": tfds.features.Text(),
        "seed": tfds.features.Scalar(dtype=np.int64),
        "hand_start": START,
        "object_start": START,
    },
)


def main(arguments: list[str]) -> None:
    """Runs the command.

    Raises:
      UserError: an argument is wrong, the target holds something else, or no expert succeeded.
    """
    options, overrides = _parser().parse_known_args(arguments)
    if options.workers is not None and options.workers < 1:
        raise UserError(f"--workers {options.workers}: must be at least 1")
    config = command.override(command.load_config(options.config), overrides).demos
    facts = _facts(config)
    if not options.overwrite and _holds(options.out, facts):
        print(f"{options.out}: holds this recording already; nothing to do")
        return
    rlds_writer.check_target(options.out.absolute(), options.overwrite)
    began = time.monotonic()
    episodes = _record(facts, options.workers)
    for name in facts["tasks"]:
        _report(name, [episode for episode in episodes if episode.task == name])
    count = rlds_writer.write(
        options.out,
        (_rlds(episode) for episode in episodes if episode.succeeded[-1]),
        FEATURES,
        f"Meta-World's scripted experts, {config.starts} starts.",
        facts,
        options.overwrite,
    )
    print(f"{options.out}: {count} episodes in {time.monotonic() - began:.0f} s")


def _facts(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """What decides the recording's content; metadata.json keeps it beside the data.

    Raises:
      UserError: a setting is wrong.
    """
    names = [tasks.find_task(name).name for name in config.tasks]
    if len(set(names)) != len(names) or not names:
        raise UserError(f"config.demos.tasks={config.tasks}: name one or more tasks, each once")
    if config.episodes < 1:
        raise UserError(f"config.demos.episodes={config.episodes}: must be at least 1")
    last = tasks.HELD_OUT_SEED - tasks.DEMONSTRATION_SEED - config.episodes
    if not 0 <= config.seed <= last:
        raise UserError(
            f"config.demos.seed={config.seed}: must lie in 0 to {last}; later ones are held out"
        )
    return {
        "fps": tasks.CONTROL_HZ,
        "tasks": names,
        "starts": tasks.find_starts(config.starts).name,
        "episodes": config.episodes,
        "seed": config.seed,
    }


def _holds(out: pathlib.Path, facts: dict[str, Any]) -> bool:
    path = out / "metadata.json"
    try:
        return json.loads(path.read_text()) == facts
    except (OSError, ValueError):
        return False


def _record(facts: dict[str, Any], workers: int | None) -> list[recording.Episode]:
    """Episodes in the order of their tasks and seeds, whichever finished first."""
    first = tasks.DEMONSTRATION_SEED + facts["seed"]
    names = [name for name in facts["tasks"] for _ in range(facts["episodes"])]
    seeds = [first + i for _ in facts["tasks"] for i in range(facts["episodes"])]
    found: dict[int, recording.Episode] = {}
    with tqdm.tqdm(total=len(names), desc="recording", unit="episode") as bar:
        starts = tasks.find_starts(facts["starts"])
        for index, episode in recording.record(names, seeds, starts, workers):
            found[index] = episode
            bar.update()
    return [found[index] for index in range(len(names))]


def _report(name: str, episodes: Sequence[recording.Episode]) -> None:
    good = [episode for episode in episodes if episode.succeeded[-1]]
    frames = sum(len(episode.images) for episode in good)
    seconds = frames / tasks.CONTROL_HZ
    print(
        f"{name}: {len(good)} episodes, {frames} frames, {seconds:.0f} s of motion, "
        f"{len(episodes) - len(good)} dropped"
    )


def _rlds(episode: recording.Episode) -> dict[str, Any]:
    return rlds_writer.episode(
        episode.images,
        episode.states,
        episode.actions,
        rewards=[float(solved) for solved in episode.succeeded],
        instruction=episode.instruction,
        terminal=True,
        metadata={
            "task": episode.task,
            "seed": np.int64(episode.seed),
            "hand_start": episode.hand_start,
            "object_start": episode.object_start,
        },
    )


def _parser() -> argparse.ArgumentParser:
    parser = command.parser(__doc__, "python -m vidact.demos")
    parser.add_argument("--out", required=True, type=pathlib.Path, help="folder NAME/VERSION")
    parser.add_argument("--config", default=QUICKSTART, help="a file of configs/; %(default)s")
    parser.add_argument("--workers", type=int, help="processes; one per core")
    parser.add_argument("--overwrite", action="store_true", help="replace the data set at --out")
    return parser


if __name__ == "__main__":
    command.run(main)
