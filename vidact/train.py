r"""Trains a model, or continues a run that was stopped.

Examples:
  python -m vidact.train --config configs/quickstart.py --describe
  python -m vidact.train --config configs/quickstart.py --config.data.root=DIR --workdir=RUN
  python -m vidact.train --config configs/quickstart.py --config.data.root=DIR --workdir=RUN \
      --config.train.steps=300 --config.overfit_one_batch
  python -m vidact.train --config configs/bridge.py --config.data.root=DIR --workdir=RUN
  python -m vidact.train --config FILE --config.train.pretrained=weights/stdit3 --workdir=RUN
  python -m vidact.train --config configs/covar_1b4.py --config.data.root=DIR \
      --config.data.encoded=ENCODED --workdir=RUN

Run the same command again to continue after a kill: it goes on from the newest checkpoint with the
same batches.
"""

from vidact import command


def main(arguments: list[str]) -> None:
    """Parses the command line and calls the trainer."""
    parser = command.parser(__doc__, "python -m vidact.train")
    parser.add_argument("--config", required=True, help="a file of configs/")
    parser.add_argument("--workdir", help="where the run is written; continued if it exists")
    parser.add_argument(
        "--describe", action="store_true", help="print sizes, memory and hours, and stop"
    )
    args, overrides = parser.parse_known_args(arguments)
    config = command.override(command.load_config(args.config), overrides)
    if args.describe:
        from vidact.training import describe

        describe.describe(config)
        return
    if not args.workdir:
        raise command.UserError("--workdir: missing; name the folder that the run goes to")
    if not config.data.root:
        raise command.UserError("config.data.root: empty; set --config.data.root=DIR")
    command.check_writable(args.workdir)
    # JAX is imported only now, so that --help and mistakes answer at once.
    from vidact.interop import pretrained
    from vidact.training import loop, startup

    startup.keep_programs(config, args.workdir)
    loop.run(
        config,
        args.workdir,
        pretrained.start(config) if config.train.pretrained else None,
    )


if __name__ == "__main__":
    command.run(main)
