r"""Compiles the training step for a TPU pod, on a machine without TPU, and tells what it costs.

Examples:
  python -m vidact.compile_check --config configs/covar_1b4.py --topology v5e:4x4 --fast
  python -m vidact.compile_check --config configs/covar_1b4.py --topology v5e:16x16 --slices 2
  python -m vidact.compile_check --config configs/covar_1b4.py --topology v5e:1x1 --batch 1 \
      --config.train.freeze="('^refiner/','video-branch')" --config.train.frozen_dtype=bfloat16
  python -m vidact.compile_check --config configs/covar_1b4.py --topology v6e:16x16 --sweep

Needs the extra tpu. Memory is what the compiler lays out. The times are lower bounds: FLOPs, bytes
of memory and messages over the data sheet's peaks. --fast compiles with the least effort: it
answers whether the step compiles and fits, but moves more memory than the full compile, so that its
mfu bound is low. The exit code is 1 where the step does not fit.
"""

import sys

from vidact import command


def main(arguments: list[str]) -> None:
    """Parses the command line and prints the table, or a sweep's."""
    parser = command.parser(__doc__, "python -m vidact.compile_check")
    parser.add_argument("--config", required=True, help="a file of configs/")
    parser.add_argument("--topology", required=True, help="such as v5e:4x4, v5p:4x4x4")
    parser.add_argument("--slices", type=int, default=1, help="of that topology")
    parser.add_argument("--batch", type=int, help="samples per chip; default: config.train's")
    parser.add_argument("--fast", action="store_true", help="compile with the least effort")
    parser.add_argument("--sweep", action="store_true", help="try meshes, remat and batch sizes")
    args, overrides = parser.parse_known_args(arguments)
    config = command.override(command.load_config(args.config), overrides)
    # Before JAX is imported.
    from vidact.training import chips

    chips.prepare_environment()
    from vidact.training import compile_report, sweep

    pod = compile_report.Pod(args.topology, args.slices, args.fast)
    if args.sweep:
        sweep.run(config, pod)
        return
    if args.batch:
        config.train.batch_size = args.batch * pod.chips
    if not compile_report.run(config, pod):
        sys.exit(1)


if __name__ == "__main__":
    command.run(main)
