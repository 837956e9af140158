"""From config.data to batches: which data sets, episodes, windows and shapes, in which order."""

import functools
import itertools
from collections.abc import Mapping, Sequence

import ml_collections
import numpy as np
from jaxtyping import Int

from data_pipelines import augment, opening
from data_pipelines import buffers as buffers_lib
from data_pipelines import windows as windows_lib
from data_pipelines.bad_records import BadRecords
from data_pipelines.buckets import assign, make_buckets
from data_pipelines.data_set import DataSet
from data_pipelines.episodes import Episodes
from data_pipelines.frames import FITS
from data_pipelines.loading import Bucket, ReadText, WindowDataset
from data_pipelines.order import Part, order
from data_pipelines.oxe import published
from data_pipelines.sidecars import Sidecar
from data_pipelines.survey import survey
from data_pipelines.windows import AllWindows, Windows
from vidact import tiles
from vidact.actions import Statistics, left_alone
from vidact.errors import UserError
from vidact.text import tokenize

SPLITS = ("train", "held_out")
# One data set's 'action' and 'state'.
SetStatistics = Mapping[str, Statistics]


def make_dataset(
    config: ml_collections.ConfigDict,
    *,
    seed: int,
    batch_size: int,
    split: str = "train",
    statistics: Sequence[SetStatistics] | None = None,
    source: Episodes | None = None,
    read_text: ReadText | None = None,
    sidecars: Sequence[Sidecar] = (),
    process_index: int = 0,
    process_count: int = 1,
    multiple: int = 1,
) -> WindowDataset:
    """Opens `config.data` as batches of windows.

    Args:
      config: config.data.
      seed: of the order of windows; 0 <= seed < 2**32.
      batch_size: B over all processes; a multiple of process_count.
      split: one of SPLITS; held-out episodes are never in 'train' (see `windows.split_episodes`).
      statistics: by data set, for normalising; by default those of the training episodes.
      source: from `opening.open_source`, to share one memory between splits; opened by default.
      read_text: by default word ids (`vidact.text`).
      sidecars: further fields; windows that one of them lacks are left out.
      process_index: which block of each batch to load.
      process_count: number of processes.
      multiple: what the batch sizes of buckets are multiples of, beside process_count.

    Raises:
      UserError: a data set cannot be read, holds no window for this split, or the sizes in the
        configuration do not fit.
    """
    _check(config, batch_size, split, process_count, sidecars)
    source = source or opening.open_source(config)
    bad = BadRecords(config.on_bad_record)
    buckets = make_buckets(config, batch_size, max(multiple, process_count))
    every, bounds, measured = _all_windows(config, source, split, bad, buckets)
    buffers_lib.trim()
    if not len(every):
        raise UserError(
            f"{source.name}: its {split} episodes give no window of two or more "
            "steps; set config.data.held_out or give more episodes"
        )
    windows, rows = _with_rows(every, sidecars, source.name, split)
    if isinstance(windows, Windows):
        bounds = np.searchsorted(source.data_set_of(windows.episodes), np.arange(len(bounds)))
    parts = _parts(bounds, source.weights, len(buckets), opening.shares(config))
    present = [number for number, found in enumerate(parts) if found]
    buckets = [buckets[number] for number in present]
    return WindowDataset(
        config=config,
        source=source,
        windows=windows,
        bounds=bounds,
        statistics=statistics or measured,
        buckets=buckets,
        order=order(
            [parts[number] for number in present],
            [bucket.batch_size for bucket in buckets],
            seed,
            process_index,
            process_count,
        ),
        seed=seed,
        read_text=read_text or words(config),
        bad=bad,
        sidecars=list(zip(sidecars, rows, strict=True)),
        augmented=split == "train",
    )


def _all_windows(
    config: ml_collections.ConfigDict,
    source: Episodes,
    split: str,
    bad: BadRecords,
    buckets: Sequence[Bucket],
) -> tuple[AllWindows, Int[np.ndarray, " parts"], list[SetStatistics]]:
    """The windows by bucket and data set, the bounds of these parts, and the sets' statistics."""
    numbers, lengths, places, measured = [], [], [], []
    for number, data_set in enumerate(source.data_sets):
        train, held = windows_lib.split_episodes(len(data_set), config.held_out)
        found = survey(data_set, train, bad)
        mine = train if split == "train" else held
        numbers.append(mine + source.begins[number])
        lengths.append(found.lengths[mine])
        shape = next(iter(data_set.image_shapes.values()))
        places.append(number + len(source.data_sets) * assign(buckets, shape, lengths[-1]))
        measured.append(_for_training(config, source.names[number], data_set, found.statistics))
    chosen, steps, place = (np.concatenate(part) for part in (numbers, lengths, places))
    sorted_by = np.argsort(place, kind="stable")
    every = AllWindows(chosen[sorted_by], steps[sorted_by])
    edges = np.searchsorted(place[sorted_by], np.arange(len(buckets) * len(source.data_sets) + 1))
    bounds = np.array([every.before(int(edge)) for edge in edges])
    return every, bounds, measured


def words(config: ml_collections.ConfigDict) -> ReadText:
    """The reader of a model that embeds words itself; `config` is config.data."""
    return functools.partial(tokenize, max_words=config.max_words, vocabulary=config.vocabulary)


def _for_training(
    config: ml_collections.ConfigDict, name: str, data_set: DataSet, found: SetStatistics
) -> SetStatistics:
    """The statistics that normalise: the gripper is left alone, actions may be as published."""
    action = found["action"]
    if config.statistics == "published":
        action = _published(data_set, name)
    if data_set.gripper is not None:
        action = left_alone(action, data_set.gripper)
    return {**found, "action": action}


def _published(data_set: DataSet, name: str) -> Statistics:
    """Of actions as the data set is stored: at another rate displacements are longer or shorter."""
    row = data_set.view.registered
    found = published.find(row) if row else None
    if found is None:
        raise UserError(
            f"config.data.statistics='published': nobody published any of {name}; set it to "
            "'measured'"
        )
    if data_set.fps != data_set.rate:
        raise UserError(
            f"config.data.statistics='published': those of {name} are of {data_set.rate:g} steps a "
            f"second, config.data.fps={data_set.fps:g}: set config.data.fps to that or to 0, or "
            "config.data.statistics to 'measured'"
        )
    return found["action"].take(data_set.order) if data_set.order else found["action"]


def _parts(
    bounds: Int[np.ndarray, " n"], weights: Sequence[float], buckets: int, shares: bool
) -> list[list[Part]]:
    """By bucket, the data sets that have windows of its shape.

    A data set's probability is its weight times its number of windows (octo's and OpenVLA's
    `balance_weights`), or its weight alone; over shapes it is divided by numbers of windows.
    """
    edges = bounds.tolist()
    counts = np.diff(bounds).reshape(buckets, len(weights))
    totals = np.maximum(counts.sum(0), 1)
    factors = counts / totals if shares else counts
    found: list[list[Part]] = [[] for _ in range(buckets)]
    for place, (begin, end) in enumerate(itertools.pairwise(edges)):
        bucket, data_set = divmod(place, len(weights))
        if end > begin:
            weight = weights[data_set] * float(factors[bucket, data_set])
            found[bucket].append(Part(begin, end, weight))
    return found


def _with_rows(
    every: AllWindows, sidecars: Sequence[Sidecar], name: str, split: str
) -> tuple[AllWindows | Windows, list[np.ndarray]]:
    """The windows that all sidecars have, and their rows in each."""
    if not sidecars:
        return every, []
    windows = every.all()
    found = [sidecar.rows(windows) for sidecar in sidecars]
    kept = np.flatnonzero(np.all([rows >= 0 for rows in found], axis=0))
    if not len(kept):
        raise UserError(
            f"{name}: config.data.encoded or config.data.coarse holds no {split} window of it; "
            "write it for this data set and these config.data settings"
        )
    return windows.at(kept), [rows[kept] for rows in found]


def _check(
    config: ml_collections.ConfigDict,
    batch_size: int,
    split: str,
    process_count: int,
    sidecars: Sequence[Sidecar],
) -> None:
    if split not in SPLITS:
        raise UserError(f"split {split!r}: unknown; choose from {', '.join(SPLITS)}")
    if batch_size < 1 or batch_size % process_count:
        raise UserError(
            f"batch size {batch_size}: not a positive multiple of {process_count} processes; "
            "change config's batch size"
        )
    if config.frames < 2:
        raise UserError(f"config.data.frames={config.frames}: a window needs at least 2 frames")
    if config.statistics not in ("measured", "published"):
        raise UserError(
            f"config.data.statistics={config.statistics!r}: choose from measured, published"
        )
    if config.fit not in FITS:
        raise UserError(f"config.data.fit={config.fit!r}: choose from {', '.join(FITS)}")
    augment.check(config.augment, any("latents" in sidecar.fields for sidecar in sidecars))
    if sidecars and config.buckets:
        raise UserError("config.data.buckets: stored latents have one shape; leave buckets empty")
    tiles.check(opening.cameras(config), config.resolution, config.tiles)
