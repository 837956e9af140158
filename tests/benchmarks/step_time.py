r"""How long a training step takes on this machine's devices, and how much of their peak it uses.

Examples:
  python tests/benchmarks/step_time.py --config configs/covar_1b4.py --batch 4
  python tests/benchmarks/step_time.py --config configs/base.py --batch 32 --steps 50
  python tests/benchmarks/step_time.py --config configs/covar_1b4.py --batch 8 \
      --config.model.remat=dots --profile runs/profile

Trains on made-up data of the configuration's shapes, from stored latents where the codec is a
published one; only the arrays are made up. Steps are dispatched as training does, which waits at
the end of a log line: three lines of --steps each, of which the median is printed. MFU counts the
model's FLOPs without recomputation, over the data sheet's dense bfloat16 peak, and is left out for
devices that `vidact.training.chips` does not know.
"""

import pathlib
import sys
import time

import jax
import ml_collections
import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from vidact import command
from vidact.training import checks, chips, example, feed, meters, program, sharding

LINES = 3


def main(arguments: list[str]) -> None:
    """Steps and prints."""
    parser = command.parser(__doc__, "python tests/benchmarks/step_time.py")
    parser.add_argument("--config", required=True, help="a file of configs/")
    parser.add_argument("--batch", type=int, help="samples per device; default: config.train's")
    parser.add_argument("--steps", type=int, default=10, help="of a line")
    parser.add_argument("--profile", type=pathlib.Path, help="a folder for the last three steps'")
    args, overrides = parser.parse_known_args(arguments)
    config = command.override(command.load_config(args.config), overrides)
    if args.steps < 1:
        raise command.UserError(f"--steps {args.steps}: must be positive")
    if args.batch:
        config.train.batch_size = args.batch * jax.device_count()
    checks.check_sizes(config)
    seconds, work = measure(config, args.steps, args.profile)
    device, batch = jax.devices()[0], config.train.batch_size
    count, kind = jax.device_count(), device.device_kind
    rate, peak = work.flops / seconds, chips.peak(kind)
    used = f" MFU: {rate / peak / count:.2f}" if peak else ""
    speed = f"tokens/s: {work.tokens / seconds:.4g} TFLOP/s: {rate / 1e12:.4g}"
    print(f"{count} x {kind}, batch: {batch}, remat: {config.model.remat}")
    print(f"step s: {seconds:.4f} {speed}{used}")
    if memory := device.memory_stats():
        print(f"peak GB: {memory['peak_bytes_in_use'] / 1e9:.1f}")


def measure(
    config: ml_collections.ConfigDict, steps: int, profile: pathlib.Path | None
) -> tuple[float, meters.Work]:
    """Median seconds of a step, and what it asks for."""
    mesh = sharding.make_mesh(config.mesh)
    sharding.check_batch(config.train.batch_size, mesh, config.train.microbatches)
    built = program.build(config, mesh)
    batch = feed.to_devices(example.batch(config), mesh)
    codec = jax.device_put(example.codec(config), jax.NamedSharding(mesh, jax.P()))
    train_state, times = built.create(), []
    for line in tqdm(range(LINES + 1), desc="lines", leave=False):
        train_state = jax.block_until_ready(train_state)
        began = time.perf_counter()
        for _ in range(steps if line else 1):  # the first compiles
            train_state, metrics = built.update(train_state, batch, codec)
        jax.block_until_ready(metrics)
        times.append((time.perf_counter() - began) / steps)
    if profile:
        record(built.update, train_state, batch, codec, profile)
    return float(np.median(times[1:])), meters.work(config, batch, codec)


def record(update, train_state, batch, codec, folder: pathlib.Path) -> None:
    """Writes a profile of three steps."""
    with jax.profiler.trace(str(folder)):
        for number in range(3):
            with jax.profiler.StepTraceAnnotation("train", step_num=number):
                train_state, metrics = update(train_state, batch, codec)
        jax.block_until_ready(metrics)


if __name__ == "__main__":
    command.run(main)
