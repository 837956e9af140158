"""How long XLA compiles a training step of the tiny CoVAR, at several depths.

Examples:
  python tests/benchmarks/compile_time.py
  python tests/benchmarks/compile_time.py --config configs/covar.py:small --depths 2,8,28

Layers are stacked and scanned, so that depth must not change it. Prints a line per depth and ends
with the largest; exits with code 1 where that is 20 s or more, or where the deepest takes half as
long again as the shallowest.
"""

import argparse
import pathlib
import sys
import time

import jax

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from vidact import command
from vidact.training import example, program, sharding

LIMIT_S, GROWTH = 20.0, 1.5


def main() -> None:
    """Compiles and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="configs/covar.py:tiny")
    parser.add_argument("--depths", default="2,8,28")
    args = parser.parse_args()
    found = {}
    for depth in map(int, args.depths.split(",")):
        config = command.load_config(args.config)
        config.model.depth = depth
        config.train.batch_size = jax.device_count()
        mesh = sharding.make_mesh(config.mesh)
        built = program.build(config, mesh)
        given = (example.batch(config).as_dict(), example.codec(config))
        lowered = built.update.lower(*built.arguments(*given))
        began, cpu = time.perf_counter(), time.process_time()
        lowered.compile()
        found[depth] = time.perf_counter() - began
        cpu = time.process_time() - cpu
        print(f"depth {depth}: compile s: {found[depth]:.1f} (CPU {cpu:.1f})", flush=True)
    worst, growth = max(found.values()), found[max(found)] / found[min(found)]
    print(f"compile s at most: {worst:.1f} deepest over shallowest: {growth:.2f}")
    sys.exit(0 if worst < LIMIT_S and growth < GROWTH else 1)


if __name__ == "__main__":
    main()
