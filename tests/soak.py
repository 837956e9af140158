"""Kills a training run again and again and compares it with one that was left alone.

Examples:
  python -m tests.soak --kills 3
  python -m tests.soak --kills 10 --steps 300 --seed 7
  python -m tests.soak --kills 20 --processes 2

Every kill is a SIGKILL of the real process after a completed checkpoint; one of them falls inside
the writing of a checkpoint. Of several processes, which train together, a random one is killed;
the others must end by themselves, and all are started again. Each step's loss and batch hash, as
often as it was run, and the final state must equal those of the undisturbed run bit for bit. The
last line printed is `bitwise equal: yes`, or `no` with exit code 1.
"""

import argparse
import pathlib
import sys
import tempfile
import time

import numpy as np
from tqdm import tqdm

from tests import several, tiny
from vidact.training import trace

STOP_SECONDS = 60.0  # that the others may go on for when one was killed


def main() -> None:
    """Runs both trainings and compares them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--steps", type=int, default=0, help="default: 40 per kill, and 40")
    parser.add_argument("--seed", type=int, default=0, help="when, after a checkpoint, to kill")
    parser.add_argument("--processes", type=int, default=1, help="that train together")
    args = parser.parse_args()
    steps = args.steps or 40 * (args.kills + 1)
    with tempfile.TemporaryDirectory() as folder:
        equal = soak(pathlib.Path(folder), args.kills, steps, args.seed, args.processes)
    sys.exit(0 if equal else 1)


def soak(folder: pathlib.Path, kills: int, steps: int, seed: int, count: int = 1) -> bool:
    """Trains twice under `folder`, once with `kills`; prints and returns whether all is equal."""
    data = tiny.write_data(folder)
    every = steps // (kills + 1)
    calm, killed = folder / "calm", folder / "killed"
    # Without spikes: a checkpoint that is due at a skipped step is left out, and so would the kill.
    settings = dict(train__steps=steps, train__checkpoint_every=every, train__spike=0.0)
    lines = [tiny.train_command(data, w, train__trace=True, **settings) for w in (calm, killed)]
    several.finish(lines[0], count, calm)
    rng = np.random.default_rng(seed)
    inside = kills // 2  # which kill falls inside a checkpoint's writing
    for kill in tqdm(range(kills), desc="kills"):
        running = several.start(lines[1], count, killed)
        victim, wait = int(rng.integers(count)), rng.uniform(0, 0.5)
        _kill(running, victim, killed, (kill + 1) * every, kill == inside, wait)
    several.finish(lines[1], count, killed)
    equal = _same_trace(calm, killed, steps) and _same_state(calm, killed, steps)
    print(f"kills: {kills} steps: {steps}" + (f" processes: {count}" if count > 1 else ""))
    print(f"bitwise equal: {'yes' if equal else 'no'}")
    return equal


def _kill(
    running, victim: int, workdir: pathlib.Path, step: int, inside: bool, wait: float
) -> None:
    """Kills one process once checkpoint `step` is complete, or while a later one is written."""
    folder = workdir / "checkpoints"
    several.wait_until(lambda: _due(folder, step, inside), running, workdir, 0.0005)
    if not inside:
        time.sleep(wait)
    running[victim].kill()
    began = time.monotonic()
    ended = several.codes(running, STOP_SECONDS)
    if len(running) > 1:
        print(f"killed process {victim}: codes {ended} after {time.monotonic() - began:.1f} s")
    if 0 in ended:
        raise RuntimeError(f"finished in spite of the kill: {ended}")
    if inside:
        torn = [p.name for p in folder.iterdir() if not p.name.isdigit()]
        print(f"killed while writing {torn}" if torn else "the write was quicker than the kill")
        if not torn:
            raise RuntimeError("no kill fell inside a checkpoint's writing; try another --seed")


def _due(folder: pathlib.Path, step: int, inside: bool) -> bool:
    if not folder.is_dir():
        return False
    names = [p.name for p in folder.iterdir()]
    if inside:
        return any(name.startswith(f"{step}.") for name in names)
    return str(step) in names


def _same_trace(calm: pathlib.Path, killed: pathlib.Path, steps: int) -> bool:
    expected = {row["step"]: row for row in trace.read(calm)}
    rows = trace.read(killed)
    differing = [row["step"] for row in rows if row != expected.get(row["step"])]
    missing = set(range(1, steps + 1)) - {row["step"] for row in rows}
    repeated = len(rows) - len({row["step"] for row in rows})
    print(f"steps compared: {len(rows)} of which repeated: {repeated}")
    for name, bad in (("differ", differing), ("are missing", sorted(missing))):
        if bad:
            print(f"steps that {name}: {bad[:10]}")
    return not differing and not missing


def _same_state(calm: pathlib.Path, killed: pathlib.Path, steps: int) -> bool:
    trees = []
    for workdir in (calm, killed):
        trees.append(_flat([tiny.saved(workdir, steps, item) for item in ("state", "params")]))
    same = trees[0].keys() == trees[1].keys() and all(
        np.array_equal(trees[0][key], trees[1][key], equal_nan=True) for key in trees[0]
    )
    print(f"final state: {len(trees[0])} arrays {'equal' if same else 'differ'}")
    return same


def _flat(tree, prefix: str = "") -> dict[str, np.ndarray]:
    if isinstance(tree, dict | list | tuple):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return {k: v for name, sub in items for k, v in _flat(sub, f"{prefix}/{name}").items()}
    return {} if tree is None else {prefix: np.asarray(tree)}


if __name__ == "__main__":
    main()
