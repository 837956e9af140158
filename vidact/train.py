r"""Trains a model, or continues a run that was stopped.

Examples:
  python -m vidact.train --config configs/quickstart.py --describe
  python -m vidact.train --config configs/quickstart.py --config.data.root=DIR --workdir=RUN
  python -m vidact.train --config configs/quickstart.py --config.data.root=DIR --workdir=RUN \
      --config.train.steps=300 --config.overfit_one_batch
  python -m vidact.train --config configs/bridge.py --config.data.root=DIR --workdir=RUN
  python -m vidact.train --config FILE --config.init_from=weights/stdit3 --workdir=RUN
  python -m vidact.train --config configs/covar_1b4.py --config.data.root=DIR \
      --config.data.encoded=ENCODED --workdir=RUN

Run the same command again to continue after a kill: it goes on from the newest checkpoint with the
same batches. Several processes find each other by themselves on Cloud TPU, GKE and Slurm, elsewhere
by --coordinator, --processes and --process. Exit codes: 0 finished, 75 told to go by SIGTERM, all
that there was is saved (start again), 2 a mistake that the last line names, any other a crash, here
or elsewhere.
"""

import pathlib

from vidact.training import preemption


def main(arguments: list[str]) -> None:
    """Parses the command line and calls the trainer."""
    from vidact import command

    parser = command.parser(__doc__, "python -m vidact.train")
    parser.add_argument("--config", required=True, help="a file of configs/")
    parser.add_argument("--workdir", help="where the run is written; continued if it exists")
    parser.add_argument(
        "--describe", action="store_true", help="print sizes, memory and hours, and stop"
    )
    parser.add_argument("--coordinator", help="HOST:PORT of process 0, of several processes")
    parser.add_argument("--processes", type=int, help="how many there are")
    parser.add_argument("--process", type=int, help="which one this is, from 0")
    args, overrides = parser.parse_known_args(arguments)
    config = command.override(command.load_config(args.config), overrides)
    if args.describe:
        from vidact.training import describe

        describe.describe(config)
        return
    if not args.workdir:
        raise command.UserError("--workdir: missing; name the folder that the run goes to")
    command.check_data(config)
    command.check_writable(args.workdir)
    # JAX is imported only now, so that --help and mistakes answer at once.
    from vidact.interop import init_from
    from vidact.training import distributed, loop, runs, startup

    startup.keep_programs(config, args.workdir)
    with (
        preemption.watched(),
        distributed.joined(args.coordinator, args.processes, args.process),
    ):
        new = config.init_from and not runs.has_checkpoint(pathlib.Path(args.workdir))
        loop.run(config, args.workdir, init_from.start(config) if new else None)


if __name__ == "__main__":
    preemption.may_end()  # before the imports that take time
    from vidact import command

    command.run(main)
