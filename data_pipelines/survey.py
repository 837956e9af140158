"""One pass over a data set before its first use: lengths and statistics, kept for the next time."""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping

import numpy as np
import tqdm
from etils import epath
from jaxtyping import Int

from data_pipelines.bad_records import BadRecords
from data_pipelines.data_set import DataSet
from data_pipelines.measured import NAMES, Measured
from vidact import whole
from vidact.actions import Statistics
from vidact.errors import UserError

_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Survey:
    """What a pass finds.

    Attributes:
      lengths: steps of each episode; 0 for one that cannot be read.
      statistics: 'action' and 'state' of the training episodes.
      bad: what is wrong with those that cannot be read.
    """

    lengths: Int[np.ndarray, " E"]
    statistics: Mapping[str, Statistics]
    bad: tuple[str, ...] = ()


def survey(data_set: DataSet, train: Int[np.ndarray, " n"], bad: BadRecords) -> Survey:
    """Reads all numbers of a data set, no frame, or finds what an earlier pass has kept.

    Args:
      data_set: which.
      train: its training episodes, of which statistics are taken.
      bad: says what to do with an episode that cannot be read.

    Raises:
      UserError: such an episode, or no training episode that can be read.
    """
    found = _read(_file(data_set, train, bad))
    if found is None or len(found.lengths) != len(data_set):
        found = _pass(data_set, train, bad)
        keep(data_set, train, bad, found)
    for reason in found.bad:
        bad.note(UserError(reason))
    return found


def keep(data_set: DataSet, train: Int[np.ndarray, " n"], bad: BadRecords, found: Survey) -> None:
    """Keeps what a pass has found for the next time; arguments as for `survey`."""
    _write(_file(data_set, train, bad), found)


def folder() -> pathlib.Path:
    """Where surveys are kept: $XDG_CACHE_HOME/vidact or ~/.cache/vidact."""
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "vidact" / "surveys"


def _file(data_set: DataSet, train: Int[np.ndarray, " n"], bad: BadRecords) -> pathlib.Path:
    """Named by a hash of what decides the outcome; files' content by size and time of change."""
    digest = hashlib.sha256(f"{_VERSION} {data_set.fingerprint} {bad.policy}".encode())
    for path in data_set.source.files:
        digest.update(f"{path.name} {_stamp(path)}".encode())
    digest.update(train.tobytes())
    return folder() / f"{digest.hexdigest()}.json"


def _stamp(path: epath.Path) -> str:
    """Size and time of change, which a bucket tells by the second and a disk by the nanosecond."""
    if "://" in str(path):
        stat = path.stat()
        return f"{stat.length} {stat.mtime}"
    found = os.stat(path)
    return f"{found.st_size} {found.st_mtime_ns}"


def _pass(data_set: DataSet, train: Int[np.ndarray, " n"], bad: BadRecords) -> Survey:
    known, chosen = data_set.lengths(), set(train.tolist())
    wanted = train.tolist() if known is not None else range(len(data_set))
    lengths = np.zeros(len(data_set), np.int64) if known is None else known.copy()
    measured, reasons = Measured(), []
    for index in tqdm.tqdm(wanted, desc="reading episodes", unit="episode", delay=5):
        try:
            episode = data_set.numbers(index)
        except UserError as error:
            bad.note(error)
            reasons.append(str(error))
            lengths[index] = 0
            continue
        lengths[index] = len(episode)
        if index in chosen:
            measured.add(episode)
    return Survey(lengths, measured.finish(data_set.name), tuple(reasons))


def _read(file: pathlib.Path) -> Survey | None:
    try:
        told = json.loads(file.read_text())
        found = {name: Statistics.from_json(told["statistics"][name]) for name in NAMES}
        return Survey(np.array(told["lengths"], np.int64), found, tuple(told["bad"]))
    # Not there, torn by a full disk, or changed by somebody: the pass is done again.
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(file: pathlib.Path, found: Survey) -> None:
    told = {
        "lengths": found.lengths.tolist(),
        "statistics": {name: value.to_json() for name, value in found.statistics.items()},
        "bad": list(found.bad),
    }
    whole.write(file, json.dumps(told), shared=True)  # others may survey the data set, too
