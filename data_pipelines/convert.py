"""Converts a data set of any kind into the one that trains fastest: `converted:DIR`.

Examples:
  python -m data_pipelines.convert --source rlds:DIR --out DIR
  python -m data_pipelines.convert --source DIR --out DIR --cameras observation/image_0
  python -m data_pipelines.convert --source DIR --out DIR --resize 180x320
  python -m data_pipelines.convert --source DIR --out DIR \
      --direct_running_mode multi_processing --direct_num_workers 8
  python -m data_pipelines.convert --source gs://BUCKET/DIR --out gs://BUCKET/DIR \
      --runner DataflowRunner --project P --region R --temp_location gs://BUCKET/tmp

JPEG frames stay as they are, bit by bit, unless --resize asks for another size. Other frames (PNG,
pixels of HDF5 files and videos) and resized ones become JPEG files of quality 95, 4:2:0. Numbers
and texts are copied as the source gives them, apart from the frames. Killed at any point, the same
command goes on with the shards that are missing. At the end everything is read back and compared;
episodes that cannot be read stand in report.json with the reason. Arguments that are not listed
here go to Apache Beam (pip install 'vidact[convert]').
"""

import contextlib
import re
import threading
from collections.abc import Iterator

import tqdm
from etils import epath

from data_pipelines.conversion import files
from data_pipelines.conversion.finish import finish
from data_pipelines.conversion.plan import Plan, keep_plan, make_plan
from data_pipelines.conversion.shard import is_complete
from vidact import command
from vidact.errors import UserError

_POLL_S = 0.5


def main(arguments: list[str]) -> None:
    """Converts, or goes on where an earlier run stopped.

    Raises:
      UserError: the source cannot be opened, the folder holds something else, or what was written
        is not what was read.
    """
    parser = command.parser(__doc__, "python -m data_pipelines.convert")
    parser.add_argument("--source", required=True, help="KIND:DIR or DIR")
    parser.add_argument("--out", required=True, help="folder to write, or to go on with")
    parser.add_argument("--split", default="train", help="default: train")
    parser.add_argument("--cameras", default="", help="paths, with commas; default: all in colour")
    parser.add_argument("--resize", default="", metavar="HxW", help="default: as they are")
    args, rest = parser.parse_known_args(arguments)
    pipeline = _beam()
    options = pipeline.options(rest)
    out = epath.Path(args.out)
    cameras = tuple(filter(None, args.cameras.split(",")))
    plan = make_plan(args.source, args.split, cameras, _size(args.resize))
    if files.is_local(out):
        command.check_writable(args.out)
    keep_plan(plan, out)
    files.clean(out)
    if plan.left_out:
        print(f"left out: {', '.join(plan.left_out)}", flush=True)
    with _progress(plan, out):
        pipeline.run(plan, out, options)
    result = finish(plan, out)
    print(f"frames: {result.frames} shards: {plan.shards}")
    print(
        f"episodes: {result.episodes} steps: {result.steps} bad: {result.bad} "
        f"checksum: {result.checksum}"
    )


def _beam():
    """The module that needs Apache Beam, which only conversions do."""
    try:
        from data_pipelines.conversion import pipeline
    except ImportError as error:
        raise UserError(
            f"Apache Beam cannot be imported ({error}); pip install 'vidact[convert]'"
        ) from error
    return pipeline


@contextlib.contextmanager
def _progress(plan: Plan, out: epath.Path) -> Iterator[None]:
    """A bar of the shards that are in place, whichever machine puts them there."""
    done = threading.Event()

    def watch() -> None:
        left = set(range(plan.shards))
        with tqdm.tqdm(total=plan.shards, desc="converting", unit="shard") as bar:
            while not done.wait(_POLL_S):
                found = {number for number in left if is_complete(plan, out, number)}
                left -= found
                bar.update(len(found))
            bar.update(sum(is_complete(plan, out, number) for number in left))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _size(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if not found:
        raise UserError(f"--resize {text}: write HEIGHTxWIDTH, for example 180x320")
    return int(found[1]), int(found[2])


if __name__ == "__main__":
    command.run(main)
