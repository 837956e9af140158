r"""Compiles the training step or the sampler for a TPU pod, without one, and tells what it costs.

Examples:
  python -m vidact.compile_check --config configs/covar_1b4.py --topology v5e:4x4 --fast
  python -m vidact.compile_check --config configs/covar_1b4.py --topology v5e:16x16 --slices 2
  python -m vidact.compile_check --config configs/covar_1b4.py --topology v5e:1x1 --batch 1 \
      --config.train.freeze="('^refiner/','video-branch')" --config.train.frozen_dtype=bfloat16
  python -m vidact.compile_check --config configs/covar_1b4.py --topology v6e:16x16 --sweep
  python -m vidact.compile_check --config configs/covar_1b4.py --topology v5e:4x4 --from-pixels
  python -m vidact.compile_check --config configs/covar_1b4.py --topology v5e:1x1 --sample --batch 4

With a published codec the step is that of stored latents, unless --from-pixels puts the encoder
inside it, as training does where config.data.encoded is empty. Texts are embedded outside of it.
--sample compiles what vidact.sample runs on a chip, the sampler and after it the codec's decoder,
with the mode, steps (config.evaluate.sample_steps) and guidance of config.evaluate.

Needs the extra tpu. Memory is what the compiler lays out. The times are lower bounds: FLOPs, bytes
of memory and messages over the data sheet's peaks. --fast compiles with less effort, in minutes
where the full compile may take most of an hour; docs/tpu.md compares what the two say. --keep names
a folder of compiled programs: what is there already is read, not compiled. The exit code is 1 where
a program, or all that a sweep tries, does not fit.
"""

import pathlib
import sys

from vidact import command


def main(arguments: list[str]) -> None:
    """Parses the command line and prints the table, or a sweep's."""
    parser = command.parser(__doc__, "python -m vidact.compile_check")
    parser.add_argument("--config", required=True, help="a file of configs/")
    parser.add_argument("--topology", required=True, help="such as v5e:4x4, v5p:4x4x4")
    parser.add_argument("--slices", type=int, default=1, help="of that topology")
    parser.add_argument("--batch", type=int, help="samples per chip; default: config.train's")
    parser.add_argument("--fast", action="store_true", help="compile with less effort")
    parser.add_argument(
        "--keep", type=pathlib.Path, metavar="DIR", help="compiled programs, for the next time"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--sweep", action="store_true", help="try meshes, remat and batch sizes")
    what.add_argument("--sample", action="store_true", help="the sampler in place of the step")
    parser.add_argument("--from-pixels", action="store_true", help="the encoder inside the step")
    args, overrides = parser.parse_known_args(arguments)
    config = command.override(command.load_config(args.config), overrides)
    # Before JAX is imported.
    from vidact.training import chips

    chips.prepare_environment()
    from vidact.training import checked, compile_report, sweep

    if args.sample and args.from_pixels:
        raise command.UserError("--from-pixels: means nothing to --sample; leave it out")
    if args.sweep and args.batch is not None:
        raise command.UserError("--batch: means nothing to --sweep, which tries several; omit it")
    if args.keep:
        command.check_writable(args.keep)
    pod = compile_report.Pod(args.topology, args.slices, args.fast, args.keep)
    if args.sweep:
        sys.exit(0 if sweep.run(config, pod, args.from_pixels) else 1)
    if args.batch is not None:
        config.train.batch_size = args.batch * pod.chips
    if args.sample:
        from vidact.evaluation import checked as evaluation

        programs = evaluation.programs(config, pod.devices)
    else:
        programs = [checked.training_step(config, pod.devices, args.from_pixels)]
    fit = [compile_report.run(program, pod) for program in programs]
    if not all(fit):
        sys.exit(1)


if __name__ == "__main__":
    command.run(main)
