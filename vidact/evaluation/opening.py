"""Opens a trained run and its held-out windows, with the settings of the command line."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from data_pipelines import pipeline
from data_pipelines.episode import Episode
from data_pipelines.loading import WindowDataset
from data_pipelines.opening import open_source
from vidact import command
from vidact.errors import UserError
from vidact.evaluation import members
from vidact.simulators.tasks import TASKS
from vidact.training import checks, runs
from vidact.training.runs import Run

CHANGEABLE = (
    "--config.evaluate.",
    "--config.data.root=",
    "--config.data.encoded=",
    "--config.data.cache_mb=",
    "--config.encoder.weights=",
    "--config.encoder.text_weights=",
    "--config.encoder.tokenizer=",
)
COUNTS = ("rollouts", "execute", "steps", "sample_steps", "clips")


def open_run(checkpoint: str | pathlib.Path, step: int | None, overrides: Sequence[str]) -> Run:
    """Loads a run and applies `--config.key=value` to what may change after training.

    Raises:
      UserError: the run cannot be loaded, or an argument is wrong or would change the model.
    """
    for argument in overrides:
        if argument.startswith("--config.") and not argument.startswith(CHANGEABLE):
            raise UserError(
                f"{argument}: fixed by the training; config.evaluate.*, config.data.root, "
                "config.data.encoded, config.data.cache_mb and the folders in config.encoder can "
                "be changed"
            )
    config = command.override(runs.read_config(checkpoint), overrides)
    for name in COUNTS:
        if config.evaluate[name] < 1:
            raise UserError(f"config.evaluate.{name}={config.evaluate[name]}: must be at least 1")
    # Seeds below 0 are the demonstrations'; 0 action steps are as many as the video's.
    for name in ("seed", "action_steps"):
        if config.evaluate[name] < 0:
            raise UserError(f"config.evaluate.{name}={config.evaluate[name]}: must be at least 0")
    run = runs.load(checkpoint, step)  # a configuration of another version is told here
    checks.check_evaluate(config)
    return dataclasses.replace(run, config=config)


def held_out(run: Run, other_data: bool = False) -> WindowDataset:
    """The windows of the run's held-out episodes, of several data sets those of `run.data_set`.

    Args:
      run: a trained model.
      other_data: whether config.data.root may name data that the run was not trained on.

    Raises:
      UserError: the data set cannot be read or is not the run's, the run holds out nothing, or none
        of several data sets is named.
    """
    data = run.config.data
    members.number(run)  # before anything is read
    if not data.held_out:
        raise UserError("config.data.held_out=0: this run holds out no episode; train another")
    source = open_source(data)
    if not other_data:
        members.check_own(run, source)
    dataset = pipeline.make_dataset(
        data,
        seed=0,
        batch_size=1,
        split="held_out",
        source=source,
        statistics=list(run.statistics.values()),
        read_text=run.read_text,
    )
    members.check_widths(run, dataset)
    return members.only(run, dataset)


def windows_by_task(dataset: WindowDataset) -> dict[str, Int[np.ndarray, " n"]]:
    """Task -> its windows. Episodes that name no task are grouped under the data set's name."""
    episodes = dataset.windows.all().episodes
    names = {
        int(i): task_of(dataset.source.episode(int(i))) or data_set_name(dataset, int(i))
        for i in np.unique(episodes)
    }
    tasks = np.array([names[int(i)] for i in episodes])
    return {str(name): np.flatnonzero(tasks == name) for name in dict.fromkeys(names.values())}


def spread(windows: Int[np.ndarray, " n"], count: int) -> Int[np.ndarray, " k"]:
    """At most `count` of the windows, evenly spaced, in order."""
    count = min(count, len(windows))
    return windows[((np.arange(count) + 0.5) * len(windows) / count).astype(np.int64)]


def full_windows(dataset: WindowDataset, count: int) -> Int[np.ndarray, " k"]:
    """About `count` windows without padding, spread evenly over tasks and episodes.

    Raises:
      UserError: no held-out episode is as long as a window.
    """
    every = dataset.windows.all()
    steps = {int(i): len(dataset.source.episode(int(i))) for i in np.unique(every.episodes)}
    ends = np.array([steps[int(i)] for i in every.episodes]) - dataset.config.frames
    groups = [
        full
        for windows in windows_by_task(dataset).values()
        if len(full := windows[every.starts[windows] <= ends[windows]])
    ]
    if not groups:
        raise UserError(
            f"{dataset.source.name}: no held-out episode has {dataset.config.frames} frames; "
            "train with a smaller config.data.frames"
        )
    shares = [len(part) for part in np.array_split(np.arange(count), len(groups))]
    return np.concatenate([spread(g, share) for g, share in zip(groups, shares, strict=True)])


def task_of(episode: Episode) -> str | None:
    """The task that an episode's metadata or else its instruction names, if either does."""
    named = episode.metadata.get("task")
    if named:
        return str(named)
    text = episode.instructions[0]
    return next((task.name for task in TASKS.values() if text in task.instructions), None)


def data_set_name(dataset: WindowDataset, episode: int) -> str:
    """The short name of the data set that an episode belongs to."""
    return dataset.source.names[int(dataset.source.data_set_of(np.array([episode]))[0])]
