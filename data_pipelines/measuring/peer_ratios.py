"""What the pipeline costs beside its peers: all sides take turns in one run."""

import contextlib
import hashlib
import pathlib
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from data_pipelines.measuring import data, peer_data, peers
from data_pipelines.measuring.our_side import whole_windows
from vidact.errors import UserError

RESIZED = (180, 320)
_OURS = "data_pipelines.measuring.our_side"
_STORED = (data.SIZE, data.SIZE)


def lines(folder: pathlib.Path, environments: pathlib.Path, repeats: int) -> Iterator[str]:
    """The benchmark's lines about peers, those that are not set up named as left out.

    Args:
      folder: with `raw` and `converted`; see `data.make`.
      environments: see `peers.setup`.
      repeats: of every side, after one more that warms up; medians are told.

    Raises:
      UserError: a peer's program fails, or its pixels are not ours.
    """
    for name, measure in (("tfdata", _against_tfdata), ("lerobot", _against_lerobot)):
        left_out = peers.wanting(environments, name)
        if left_out:
            yield left_out
        else:
            yield from measure(folder, environments, repeats)


def _against_tfdata(folder: pathlib.Path, where: pathlib.Path, repeats: int) -> Iterator[str]:
    records = peer_data.tfrecords(folder)

    def sides(size: tuple[int, int], *arguments: str) -> dict[str, list[str]]:
        rest = [str(records), *arguments]
        return {
            "ours": _ours("pipeline", folder, size),
            "tf.data": peers.command(where, "tfdata", "peer_tfdata") + rest,
            "octo": peers.command(where, "tfdata", "peer_octo") + rest,
        }

    resized = sides(RESIZED, *map(str, RESIZED))
    resized["tf.data antialias"] = [*resized["tf.data"], "antialias"]
    yield f"resize ratio: {_ratios(in_turns(resized, repeats))}"
    stored = sides(_STORED) | {"decoding": _ours("decoding", folder, _STORED)}
    found = in_turns(stored, repeats, folder / "converted")
    yield f"without resize ratio: {_ratios(found)} (pixels equal: yes)"
    share = found["tf.data"].cpu_ms / found["decoding"].cpu_ms
    yield f"tf.data over decoding: {share:.2f}"


def _against_lerobot(folder: pathlib.Path, where: pathlib.Path, repeats: int) -> Iterator[str]:
    videos = _videos(folder, where)
    sides = {
        "ours": _ours("pipeline", folder, _STORED),
        "LeRobotDataset": [*peers.command(where, "lerobot", "peer_lerobot"), str(videos)],
        "torchcodec": [
            *peers.command(where, "lerobot", "peer_torchcodec"),
            f"{videos}.h264",
        ],
    }
    yield f"mp4 ratio: {_ratios(in_turns(sides, repeats))}"


def in_turns(
    commands: Mapping[str, Sequence[str]],
    repeats: int,
    equal_to: pathlib.Path | None = None,
) -> dict[str, peers.Cost]:
    """Medians of what each side costs.

    Args:
      commands: name -> program that speaks as `programs/peer_loop.py` does.
      repeats: see `lines`.
      equal_to: a converted data set whose frames each side's first windows must equal.

    Raises:
      UserError: a program fails, or its pixels differ.
    """
    with contextlib.ExitStack() as stack:
        sides = {
            name: stack.enter_context(peers.started(name, command))
            for name, command in commands.items()
        }
        if equal_to is not None:
            for name, side in sides.items():
                check_pixels(name, side, equal_to)
        costs = [{name: side.measure() for name, side in sides.items()} for _ in range(repeats + 1)]
    return {name: _median([cost[name] for cost in costs[1:]]) for name in sides}


def check_pixels(name: str, side: peers.Side, root: pathlib.Path) -> None:
    """Holds the first windows of a side, those that are whole, against ours.

    Raises:
      UserError: names the side, the episode and the step, or tells that it has no whole window.
    """
    found = whole_windows(str(root), _STORED)
    every = found.windows.all()
    numbers = {
        place: i for i, place in enumerate(zip(every.episodes.tolist(), every.starts.tolist()))
    }
    compared = [
        (numbers[number, start], told)
        for (number, start), told in zip(side.places, side.sha256, strict=True)
        if start >= 0
    ]
    if not compared:
        raise UserError(f"{name}: none of its first windows is whole; measure again")
    pixels = found.load(np.array([index for index, _ in compared])).pixels
    for (index, told), row in zip(compared, pixels, strict=True):
        if hashlib.sha256(np.ascontiguousarray(row).tobytes()).hexdigest() != told:
            place = f"episode {every.episodes[index]}, step {every.starts[index]}"
            raise UserError(f"{name}: {place}: its pixels differ from ours; mend its program")


def _median(costs: Sequence[peers.Cost]) -> peers.Cost:
    return peers.Cost(*(statistics.median(values) for values in zip(*costs)))


def _ratios(costs: Mapping[str, peers.Cost]) -> str:
    """Each peer's CPU time over ours, then CPU and wall milliseconds of all."""
    ours = costs["ours"].cpu_ms
    told = [f"{name} {cost.cpu_ms / ours:.2f}" for name, cost in costs.items() if name != "ours"]
    each = [f"{name} {cost.cpu_ms:.1f} (wall {cost.wall_ms:.1f})" for name, cost in costs.items()]
    return f"{', '.join(told)}; CPU ms a window: {', '.join(each)}"


def _ours(what: str, folder: pathlib.Path, size: tuple[int, int]) -> list[str]:
    return [sys.executable, "-m", _OURS, what, str(folder / "converted"), *map(str, size)]


def _videos(folder: pathlib.Path, environments: pathlib.Path) -> pathlib.Path:
    """The episodes as LeRobot's library writes them; made once."""
    out = folder / "lerobot"
    if not out.exists():
        scratch = folder / "writing"
        make = peers.command(environments, "lerobot", "peer_videos")
        arguments = [*make, str(peer_data.jpegs(folder)), str(scratch)]
        done = subprocess.run(arguments, capture_output=True, text=True)
        if done.returncode:
            raise UserError(f"peer_videos: {done.stderr.strip().splitlines()[-1]}; mend it")
        for suffix in (".h264", ""):
            scratch.with_name(f"writing{suffix}").rename(out.with_name(f"lerobot{suffix}"))
    return out
