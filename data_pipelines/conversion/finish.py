"""The end of a conversion: every shard is read again and compared, then all are described.

What is compared are digests of the episodes: taken when they came from the source, before anything
was written, and taken again of what the finished files give through the code that training reads
with. A second read of the source would cost as much as the first, prove no more, and blame the copy
where the source changed in between.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from data_pipelines.conversion import files
from data_pipelines.conversion.plan import Plan
from data_pipelines.sources import converted, digests, texts
from data_pipelines.sources import converted_shard as shard_lib
from data_pipelines.sources.converted_shard import ConvertedShard
from vidact import store
from vidact.errors import UserError


class Result(NamedTuple):
    """Counts of a finished conversion, and the digest of its content."""

    episodes: int
    steps: int
    frames: int
    bad: int
    checksum: str


def verify_shard(plan: Plan, out: epath.Path, number: int) -> str:
    """Reads a shard back.

    Returns:
      What is wrong with it in one line, or "".
    """
    names = [name(number, plan.shards) for name in (shard_lib.steps_file, shard_lib.frames_file)]
    try:
        with files.fetched(out, names) as folder:
            return _verify(plan, folder, number)
    except UserError as error:
        return str(error)


def _verify(plan: Plan, folder: pathlib.Path, number: int) -> str:
    told = _told(folder / shard_lib.steps_file(number, plan.shards))
    layout = shard_lib.Layout(folder, plan.shards, plan.features, plan.frames_per_record)
    shard = ConvertedShard(layout, number, told[shard_lib.LENGTHS])
    for position, stated in enumerate(told[shard_lib.DIGESTS]):
        every = range(int(told[shard_lib.LENGTHS][position]))
        paths = (*plan.paths("array"), *plan.paths("text"))
        features, _ = shard.read(position, paths)
        cameras = {path: shard.frames(position, path, every) for path in plan.paths("image")}
        if digests.of_episode(features, cameras) != stated.tobytes():
            return f"{shard.name(position)}: is not what was read; {shard_lib.REMEDY}"
    return ""


def finish(plan: Plan, out: epath.Path) -> Result:
    """Counts what all shards hold and writes index, report and, last, the description.

    Raises:
      UserError: an episode is missing or stands there twice.
    """
    shards, lengths, found, bad = [], [], [], []
    for number in range(plan.shards):
        name = shard_lib.steps_file(number, plan.shards)
        with files.fetched(out, [name]) as folder:
            told, reasons = _told(folder / name), _bad(folder / name)
        seen = [*told[shard_lib.EPISODES].tolist(), *(bad["episode"] for bad in reasons)]
        if sorted(seen) != list(plan.episodes_of(number)):
            raise UserError(
                f"{out / name}: does not hold each of its episodes once; {shard_lib.REMEDY}"
            )
        digest = [row.tobytes() for row in told[shard_lib.DIGESTS]]
        shards.append({"episodes": len(digest), "checksum": digests.of_data_set(digest)})
        lengths.append(told[shard_lib.LENGTHS])
        found += digest
        bad += reasons
    every = np.concatenate(lengths).astype(np.int32)
    steps = int(every.sum())
    frames = steps * len(plan.paths("image"))
    result = Result(len(every), steps, frames, len(bad), digests.of_data_set(found))
    _describe(plan, out, every, bad, {**result._asdict(), "shards": shards})
    return result


def _describe(
    plan: Plan, out: epath.Path, lengths: np.ndarray, bad: list, told: Mapping[str, Any]
) -> None:
    with files.scratch(out) as folder:
        store.save(folder / converted.INDEX, {"lengths": lengths})
        files.put(folder / converted.INDEX, out)
    report = {"bad": bad, "left_out": list(plan.left_out)}
    files.put_text(json.dumps(report, indent=1) + "\n", out, converted.REPORT)
    described = {"version": converted.VERSION, **plan.to_json(), **told}
    files.put_text(json.dumps(described, indent=1) + "\n", out, converted.DESCRIPTION)


def _bad(path: pathlib.Path) -> list[dict[str, Any]]:
    """A shard's episodes that could not be read, and why."""
    with store.reader(path) as reader:
        reasons = reader.get(shard_lib.BAD_REASONS)
        told = texts.read(reader, reasons)
        episodes = reader.get(shard_lib.BAD_EPISODES).tolist()
    return [
        {"episode": episode, "reason": told[reason]}
        for episode, reason in zip(episodes, reasons.tolist(), strict=True)
    ]


def _told(path: pathlib.Path) -> dict[str, np.ndarray]:
    """What a shard says of its episodes."""
    with store.reader(path) as reader:
        names = (shard_lib.EPISODES, shard_lib.LENGTHS, shard_lib.DIGESTS)
        return {name: reader.get(name) for name in names}
