"""Measures the pipeline, and hashes its batches.

Examples:
  python -m data_pipelines.benchmark --setup-peers
  python -m data_pipelines.benchmark
  python -m data_pipelines.benchmark --hash-batches 8 --hosts 4 --resume-at 3
  python -m data_pipelines.benchmark --hash-batches 8 --hosts 2 --source converted:DIR
  python -m data_pipelines.benchmark --hash-batches 8 --config configs/quickstart.py \
      --config.data.root=DIR

With --hash-batches K: SHA-256 of the first K batches that N hosts together see, the same for every
number of hosts and wherever a new start falls. Without: what opening and reading cost on generated
episodes (40 of 60 to 129 steps, 256 x 256 JPEG of 24 KB), converted. CPU figures are medians over
repeats in which both sides take turns; nothing is kept in memory between batches. Other pipelines
on the same episodes are measured too, once --setup-peers has installed them: TensorFlow, PyTorch
and LeRobot, in environments of their own, which nothing else here uses.
"""

import contextlib
import os
import pathlib
import statistics
import tempfile
from collections.abc import Iterator

import ml_collections

from data_pipelines import pipeline
from data_pipelines.measuring import data, decoding, hashing, memory, peer_ratios, peers, reading
from vidact import command
from vidact.errors import UserError

_RESIZED = (180, 320)
_MIXTURE = 25
_THOUSAND, _SMALL = 1000, 64  # episodes, pixels a side


def main(arguments: list[str]) -> None:
    """Hashes or measures.

    Raises:
      UserError: arguments that do not fit, or data that cannot be read.
    """
    parser = command.parser(__doc__, "python -m data_pipelines.benchmark")
    parser.add_argument("--hash-batches", type=int, metavar="K", help="hash instead of measuring")
    parser.add_argument("--hosts", type=int, default=1, metavar="N")
    parser.add_argument("--resume-at", type=int, metavar="J", help="start anew at batch J")
    parser.add_argument("--batch-size", type=int, default=data.BATCH, help="over all hosts")
    parser.add_argument("--source", default="", help="KIND:DIR or DIR; default: generated")
    parser.add_argument("--config", default=str(data.BASE), help="a configuration file")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--setup-peers", action="store_true", help="install other pipelines: 9 GB")
    parser.add_argument("--peers", type=pathlib.Path, default=peers.FOLDER, help="where they are")
    args, overrides = parser.parse_known_args(arguments)
    config = command.override(command.load_config(args.config), overrides)
    if args.setup_peers:
        peers.setup(args.peers)
        return
    with _folder() as folder:
        if args.hash_batches is None:
            measure(folder, args.repeats, args.peers)
            return
        if args.source:
            config.data.root = args.source
        elif not config.data.root:
            config.data.root = str(_small(folder) / "converted")
        _check(args)

        def open_one(host: int, hosts: int):
            return pipeline.make_dataset(
                config.data,
                seed=config.seed,
                batch_size=args.batch_size,
                process_index=host,
                process_count=hosts,
            )

        found = hashing.hash_batches(open_one, args.hash_batches, args.hosts, args.resume_at)
        print(f"batches sha256: {found}")


def measure(folder: pathlib.Path, repeats: int, environments: pathlib.Path) -> None:
    """Prints all measured lines; those about other pipelines come last."""
    whole = folder / "whole"
    data.make(whole, 40)
    config = data.config(whole / "converted")
    sides = list(decoding.ratios(data.windows(config), repeats))
    alone, ours = (statistics.median(side) for side in zip(*sides))
    say(f"decoding alone: {alone:.2f} CPU ms a window, pipeline: {ours:.2f}, pixels equal: yes")
    say(f"decode limit ratio: {alone / ours:.2f}")
    resized = data.windows(_with(config, resolution=_RESIZED))
    steps = [range(4 * i, 4 * i + 4) for i in range(repeats)]
    cost = statistics.median(decoding.pipeline_ms(resized, some) for some in steps)
    say(f"resized to 180x320: {cost:.2f} CPU ms a window")
    say(f"peak MB: {memory.peak_mb(whole / 'converted'):.0f}")
    one = reading.first_batch_s(config)
    many = reading.first_batch_s(data.mixture(whole / "converted", folder / "sets", _MIXTURE))
    say(f"first batch s: {one:.2f} mixture of {_MIXTURE}: {many:.2f}")
    for name, root in (("converted", whole / "converted"), ("raw RLDS", whole / "raw")):
        speeds = [reading.survey_steps_per_s(data.config(root)) for _ in range(repeats)]
        say(f"statistics steps/s/core, {name}: {statistics.median(speeds):.0f}")
    thousand, million = folder / "thousand", folder / "million"
    data.make(thousand, _THOUSAND, size=_SMALL, shards=1)
    data.multiplied(thousand / "converted", million, _THOUSAND)
    memory.share_survey(thousand / "converted", million)
    small, large = memory.peak_mb(thousand / "converted"), memory.peak_mb(million)
    say(f"memory growth 1k->1M: {large / small:.2f} ({small:.0f} to {large:.0f} MB)")
    for line in peer_ratios.lines(whole, environments, repeats):
        say(line)


def say(line: str) -> None:
    """Prints at once."""
    print(line, flush=True)


@contextlib.contextmanager
def _folder() -> Iterator[pathlib.Path]:
    """A scratch folder; surveys of what lies there are kept there too."""
    with tempfile.TemporaryDirectory(prefix="vidact-benchmark-") as name:
        os.environ["XDG_CACHE_HOME"] = str(pathlib.Path(name) / "cache")
        yield pathlib.Path(name)


def _small(folder: pathlib.Path) -> pathlib.Path:
    data.make(folder / "small", 8, size=_SMALL)
    return folder / "small"


def _with(config: ml_collections.ConfigDict, **changes) -> ml_collections.ConfigDict:
    changed = ml_collections.ConfigDict(config.to_dict())
    changed.update(changes)
    return changed


def _check(args) -> None:
    if args.hash_batches < 1 or args.hosts < 1:
        raise UserError("--hash-batches and --hosts: give whole numbers from 1 on")
    if args.resume_at is not None and not 0 <= args.resume_at <= args.hash_batches:
        raise UserError(f"--resume-at {args.resume_at}: lies outside of the batches")


if __name__ == "__main__":
    command.run(main)
