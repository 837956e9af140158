"""Kills a training run again and again and compares it with one that was left alone.

Examples:
  python -m tests.soak --kills 3
  python -m tests.soak --kills 10 --steps 300 --seed 7

Every kill is a SIGKILL of the real process after a completed checkpoint; one of them falls inside
the writing of a checkpoint. Each step's loss and batch hash, as often as it was run, and the final
state must equal those of the undisturbed run bit for bit. The last line printed is
`bitwise equal: yes`, or `no` with exit code 1.
"""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
from tqdm import tqdm

from tests import tiny

TIMEOUT = 600.0


def main() -> None:
    """Runs both trainings and compares them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--steps", type=int, default=0, help="default: 40 per kill, and 40")
    parser.add_argument("--seed", type=int, default=0, help="when, after a checkpoint, to kill")
    args = parser.parse_args()
    steps = args.steps or 40 * (args.kills + 1)
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(0 if soak(pathlib.Path(folder), args.kills, steps, args.seed) else 1)


def soak(folder: pathlib.Path, kills: int, steps: int, seed: int) -> bool:
    """Trains twice under `folder`, once with `kills`; prints and returns whether all is equal."""
    data = tiny.write_data(folder)
    every = steps // (kills + 1)
    calm, killed = folder / "calm", folder / "killed"
    lines = [
        tiny.train_command(data, w, train__steps=steps, train__checkpoint_every=every,
                           train__trace=True)
        for w in (calm, killed)
    ]  # fmt: skip
    _finish(lines[0], calm)
    rng = np.random.default_rng(seed)
    inside = kills // 2  # which kill falls inside a checkpoint's writing
    for kill in tqdm(range(kills), desc="kills"):
        _kill(lines[1], killed, (kill + 1) * every, kill == inside, rng.uniform(0, 0.5))
    _finish(lines[1], killed)
    equal = _same_trace(calm, killed, steps) and _same_state(calm, killed, steps)
    print(f"kills: {kills} steps: {steps}")
    print(f"bitwise equal: {'yes' if equal else 'no'}")
    return equal


def _start(line: list[str], workdir: pathlib.Path) -> subprocess.Popen:
    log = (workdir.parent / f"{workdir.name}.log").open("ab")
    return subprocess.Popen(line, stdout=log, stderr=log, cwd=tiny.ROOT)


def _finish(line: list[str], workdir: pathlib.Path) -> None:
    process = _start(line, workdir)
    if process.wait(TIMEOUT):
        log = (workdir.parent / f"{workdir.name}.log").read_text()
        raise RuntimeError(f"training ended with code {process.returncode}:\n{log[-3000:]}")


def _kill(line: list[str], workdir: pathlib.Path, step: int, inside: bool, wait: float) -> None:
    """Kills a run once checkpoint `step` is complete, or while a later one is being written."""
    process, folder = _start(line, workdir), workdir / "checkpoints"
    deadline = time.monotonic() + TIMEOUT
    while not _due(folder, step, inside):
        if process.poll() is not None:
            raise RuntimeError(f"training ended by itself before step {step} was saved")
        if time.monotonic() > deadline:
            raise TimeoutError(f"no checkpoint of step {step} within {TIMEOUT} s")
        time.sleep(0.0005)
    if not inside:
        time.sleep(wait)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
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
    expected = {row["step"]: row for row in _trace(calm)}
    rows = _trace(killed)
    differing = [row["step"] for row in rows if row != expected.get(row["step"])]
    missing = set(range(1, steps + 1)) - {row["step"] for row in rows}
    repeated = len(rows) - len({row["step"] for row in rows})
    print(f"steps compared: {len(rows)} of which repeated: {repeated}")
    for name, bad in (("differ", differing), ("are missing", sorted(missing))):
        if bad:
            print(f"steps that {name}: {bad[:10]}")
    return not differing and not missing


def _trace(workdir: pathlib.Path) -> list[dict]:
    lines = (workdir / "trace.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]


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
