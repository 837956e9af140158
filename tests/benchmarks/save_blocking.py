"""How long a save keeps training waiting, and how much of the whole save that is.

Examples:
  python tests/benchmarks/save_blocking.py
  python tests/benchmarks/save_blocking.py --gigabytes 0.1,1 --saves 9

Saves real training states of CoVAR, as deep as it takes for so many gigabytes, in the way that
training does, one after the other, and prints the medians; `CPU s` is the training thread's own
share, which other programs on the machine do not stretch. Exits with code 1 where a save blocks
for more than 5 % of its duration at 3 GB or more, or for more than 100 ms below that.
"""

import argparse
import math
import pathlib
import sys
import tempfile
import time

import jax
import ml_collections
import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from vidact import command
from vidact.models import registry
from vidact.nn import flat
from vidact.training import checkpoints, program, sharding, startup

LARGE_GB, SHARE, SECONDS = 3.0, 0.05, 0.1


def main() -> None:
    """Saves and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", default="0.1,1,3")
    parser.add_argument("--saves", type=int, default=5)
    parser.add_argument("--folder", help="where to write; by default a temporary folder")
    args = parser.parse_args()
    good = True
    for size in map(float, args.gigabytes.split(",")):
        config = of_size(size)
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            blocked, cpu, whole = measure(config, pathlib.Path(folder), args.saves)
        share = blocked / whole
        good &= share <= SHARE if size >= LARGE_GB else blocked <= SECONDS
        print(
            f"{size:g} GB: save blocks s: {blocked:.3f} of {whole:.2f} share: {share:.1%} "
            f"(CPU s: {cpu:.3f})",
            flush=True,
        )
    sys.exit(0 if good else 1)


def of_size(gigabytes: float) -> ml_collections.ConfigDict:
    """The CoVAR of the least depth whose state has so many gigabytes."""
    config = command.load_config("configs/covar.py:" + ("small" if gigabytes < 1 else "base"))
    config.model.refiner_depth, config.train.freeze, config.mesh.fsdp = 0, (), 1
    one, two = (saved_bytes(config, depth) for depth in (1, 2))
    config.model.depth = 1 + max(0, math.ceil((gigabytes * 1e9 - one) / (two - one)))
    return config


def saved_bytes(config: ml_collections.ConfigDict, depth: int) -> int:
    """Of parameters, their average and AdamW's two moments in float32; layers are alike."""
    config.model.depth = depth
    shapes = flat.blueprint(registry.maker(config)).shapes.values()
    return 4 * 4 * sum(shape.size for shape in shapes)


def measure(
    config: ml_collections.ConfigDict, workdir: pathlib.Path, saves: int
) -> tuple[float, float, float]:
    """Median seconds that a save blocks, of these on a core, and until it can be picked up."""
    built = program.build(config, sharding.make_mesh(config.mesh))
    train_state = jax.block_until_ready(built.create())
    (workdir / "assets").mkdir()
    times = []
    with checkpoints.open_manager(workdir, config.train) as manager, startup.settled():
        for step in tqdm(range(saves + 1), desc="saves", leave=False):
            begin, core = time.perf_counter(), time.thread_time()
            checkpoints.save(manager, train_state, {"step": step, "config": config.to_dict()})
            blocked, cpu = time.perf_counter() - begin, time.thread_time() - core
            manager.wait_until_finished()
            times.append((blocked, cpu, time.perf_counter() - begin))
    blocked, cpu, whole = np.median(times[1:], axis=0)  # the first save imports, starts threads
    return float(blocked), float(cpu), float(whole)


if __name__ == "__main__":
    main()
