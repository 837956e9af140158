"""Time and memory of the full-size video autoencoder, with random weights.

Examples:
  python tests/benchmarks/opensora_vae.py
  python tests/benchmarks/opensora_vae.py --frames 1 --size 32
  python tests/benchmarks/opensora_vae.py --dtype bfloat16 --micro-batch 4

Encodes, then decodes one clip (35 frames of 180 x 320 by default), each in a process of its own,
and prints per phase the seconds of one run after compiling, the most memory that the process
ever held (weights and compiler included) and the seconds that compiling took:
  encode s: ... peak GB: ... compile s: ...
  decode s: ... peak GB: ... compile s: ...
"""

import argparse
import dataclasses
import math
import pathlib
import resource
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
PHASES = ("encode", "decode")


def main() -> None:
    """Runs one phase where told to, else both, each in a process of its own."""
    args = parse()
    if args.phase:
        measure(args)
        return
    for phase in PHASES:
        command = [sys.executable, __file__, *sys.argv[1:], "--phase", phase]
        subprocess.run(command, check=True, cwd=ROOT)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=35)
    parser.add_argument("--size", type=sides, default=(180, 320), help="HxW pixels, or one side")
    parser.add_argument("--dtype", default="float32", help="float32 or bfloat16")
    parser.add_argument("--micro-batch", type=int, default=1, help="frames at once")
    parser.add_argument("--phase", choices=PHASES, help="only this phase, in this process")
    return parser.parse_args()


def sides(text: str) -> tuple[int, int]:
    """Reads 180x320, or 32 for 32x32."""
    height, _, width = text.partition("x")
    return int(height), int(width or height)


def measure(args: argparse.Namespace) -> None:
    """Compiles and runs one phase, and prints its line."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from flax import nnx

    from vidact.encoders.video import opensora_vae

    config = dataclasses.replace(opensora_vae.FULL, dtype=args.dtype, micro_batch=args.micro_batch)
    plan = flat.blueprint(lambda: opensora_vae.OpenSoraVAE(config, rngs=nnx.Rngs(0)))
    rng = np.random.default_rng(0)

    def tensor(path: str, shape: tuple[int, ...]):
        if not path.endswith("/kernel"):
            return jnp.full(shape, 0 if path.endswith("/bias") else 1, jnp.float32)
        noise = rng.standard_normal(shape, np.float32)
        return jnp.asarray(noise / math.sqrt(math.prod(shape[:-1])))

    weights = jax.tree.unflatten(
        plan.treedef, [tensor(path, leaf.shape) for path, leaf in plan.shapes.items()]
    )
    if args.phase == "encode":
        shape = (1, args.frames, *args.size, 3)
        function = lambda weights, x: nnx.merge(plan.graphdef, weights).encode(x)  # noqa: E731
    else:
        across = [-(-side // config.multiple) * config.multiple // 8 for side in args.size]
        shape = (1, config.latents(args.frames), *across, 4)
        function = lambda weights, z: nnx.merge(plan.graphdef, weights).decode(  # noqa: E731
            z, args.frames, args.size
        )
    x = jnp.asarray(rng.uniform(-1, 1, shape), jnp.float32)
    start = time.perf_counter()
    compiled = jax.jit(function).lower(weights, x).compile()
    compiling = time.perf_counter() - start
    start = time.perf_counter()
    result = jax.block_until_ready(compiled(weights, x))
    seconds = time.perf_counter() - start
    assert jnp.isfinite(result).all()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(f"{args.phase} s: {seconds:.1f} peak GB: {peak:.2f} compile s: {compiling:.1f}")


if __name__ == "__main__":
    main()
