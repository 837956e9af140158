"""Validates a data set, or shows it on one self-contained HTML page.

Examples:
  python -m data_pipelines.inspect DIR
  python -m data_pipelines.inspect DIR --out bridge.html --episodes 30
  python -m data_pipelines.inspect DIR --registry auto
  python -m data_pipelines.inspect DIR --action action/world_vector --image observation/image
  python -m data_pipelines.inspect DIR --check
  python -m data_pipelines.inspect DIR --check --fast

DIR is a data set of any kind that can be trained on, or KIND:DIR. The page shows what it says of
itself, lengths, statistics, instructions, and a film strip and action curves of some episodes.

--check reads every feature of every episode and decodes every frame. It names each episode that is
bad and each that is skipped (one step or fewer: nothing to train on), ends with the counts,

  episodes: 25 bad: 1 skipped: 0

and exits with 1 if any is bad. --fast reads only the headers of frames, and of a video
only the first frame.

Without --registry, the features are taken as they are: all cameras, and what is called action and
state.
"""

import pathlib
import sys

from data_pipelines import choosing
from data_pipelines.inspect import check, page
from data_pipelines.subject import Subject
from vidact import command
from vidact.errors import UserError

OUT, EPISODES, MAX_EPISODES = pathlib.Path("inspect.html"), 12, 100


def main(arguments: list[str]) -> None:
    """Runs the command.

    Raises:
      UserError: the data set cannot be opened, or an argument is wrong.
    """
    parser = command.parser(__doc__, "python -m data_pipelines.inspect")
    choosing.add_arguments(parser)
    parser.add_argument("--check", action="store_true", help="validate instead of showing")
    parser.add_argument("--fast", action="store_true", help="with --check: decode no frame")
    parser.add_argument("--out", type=pathlib.Path, help=f"the page; {OUT} by default")
    parser.add_argument("--episodes", type=int, help=f"how many it shows; {EPISODES} by default")
    options = parser.parse_args(arguments)
    if options.fast and not options.check:
        raise UserError("--fast: a page needs frames; it goes with --check")
    if options.check and (options.out or options.episodes is not None):
        raise UserError("--check writes no page; leave --out and --episodes out")
    shown = EPISODES if options.episodes is None else options.episodes
    if not 1 <= shown <= MAX_EPISODES:
        raise UserError(
            f"--episodes {shown}: give 1 to {MAX_EPISODES}; more are too much to look at"
        )
    if options.check:
        _check(options.fast, choosing.choose(options))
    else:
        out = options.out or OUT
        command.check_writable(out.parent)
        print(f"wrote {page.write(choosing.choose(options), out, shown)}")


def _check(fast: bool, chosen: Subject) -> None:
    found = check.check(chosen, fast)
    command.show("\n".join(found.lines()))
    if found.count("bad"):
        sys.exit(1)


if __name__ == "__main__":
    command.run(main)
