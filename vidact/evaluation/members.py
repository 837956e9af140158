"""Which data set a run is measured on: its own, and of several the one whose robot is meant."""

import dataclasses

import numpy as np

from data_pipelines import windows as windows_lib
from data_pipelines.bad_records import BadRecords
from data_pipelines.episodes import Episodes
from data_pipelines.loading import WindowDataset
from data_pipelines.pipeline import SetStatistics
from data_pipelines.survey import survey
from vidact.errors import UserError
from vidact.training import runs
from vidact.training.runs import Run


def number(run: Run) -> int:
    """The place of `run.data_set` among the run's data sets: its dataset_id.

    Raises:
      UserError: several data sets and none named, or another.
    """
    return list(run.statistics).index(run.data_set)


def is_own(run: Run, source: Episodes) -> bool:
    """Whether these are the data that the run was trained on, wherever they lie."""
    return runs.read_data_set(run.workdir)[0] == source.fingerprint


def told(run: Run, source: Episodes) -> str:
    """The measured data set as results name it."""
    if is_own(run, source):
        return run.data_set
    return f"{source.names[number(run)]}, not the run's own"


def check_own(run: Run, source: Episodes) -> None:
    """Refuses data that the run may have been trained on after all.

    Episodes are held out by their numbers: in other data, or once some were added, the same numbers
    stand for other episodes.

    Raises:
      UserError: says how they differ.
    """
    if is_own(run, source):
        return
    found, own = ", ".join(source.names), ", ".join(run.statistics)
    difference = f"named {found}, the run's {own}" if found != own else "changed since"
    raise UserError(
        f"{source.name}: not the data that {run.workdir} was trained on ({difference}), so that no "
        "episode is known to be held out; set config.data.root to those, or add --other-data"
    )


def only(run: Run, dataset: WindowDataset) -> WindowDataset:
    """The windows of `run.data_set` alone.

    Raises:
      UserError: there are none.
    """
    mine, windows = number(run), dataset.windows.all()
    kept = np.flatnonzero(dataset.source.data_set_of(windows.episodes) == mine)
    if not len(kept):
        raise UserError(
            f"{dataset.source.data_sets[mine].name}: none of its episodes is held out; set "
            "config.evaluate.data_set to another data set"
        )
    return dataclasses.replace(dataset, windows=windows.at(kept), bounds=np.array([0, len(kept)]))


def measured(run: Run, dataset: WindowDataset) -> SetStatistics:
    """Statistics of the training episodes of `run.data_set` as they are.

    Those that normalise are not: they leave grippers alone, or are as published.
    """
    data_set = dataset.source.data_sets[number(run)]
    training, _ = windows_lib.split_episodes(len(data_set), dataset.config.held_out)
    return survey(data_set, training, BadRecords(dataset.config.on_bad_record)).statistics


def check_widths(run: Run, dataset: WindowDataset) -> None:
    """Refuses data whose actions or states have other columns than the run's.

    Raises:
      UserError: names the data set and both widths.
    """
    for kind, found in measured(run, dataset).items():
        width, own = len(found.mean), len(run.own[kind].mean)
        if width != own:
            raise UserError(
                f"{dataset.source.data_sets[number(run)].name}: its {kind} has {width} dimensions, "
                f"the run's {own}; choose data of the same robot"
            )
