"""The main job, end to end: record, train, sample, evaluate, export and report.

Examples:
  python -m vidact.quickstart
  python -m vidact.quickstart --out runs/second --seed 1
  python -m vidact.quickstart --episodes 20 --config.train.steps=100 --config.evaluate.rollouts=4

Every step is one of vidact's commands, printed before it runs, so that each can be repeated alone.
Run it again to continue where it stopped: what is finished is not done twice.
"""

import os
import pathlib
import shlex
import subprocess
import sys
import threading
import time

import psutil

from vidact import command

TASKS = "drawer-open,window-open,button-press"
# glibc then asks the kernel for huge pages: a training step otherwise spends a third of its time
# on page faults for XLA's temporary buffer.
TUNABLES = "glibc.malloc.hugetlb=1"


class PeakMemory(threading.Thread):
    """Watches the memory of this process and all its children, shared pages counted once."""

    def __init__(self, interval: float = 1.0):
        super().__init__(daemon=True)
        self.interval, self.peak = interval, 0
        self._done = threading.Event()

    def run(self) -> None:
        """Samples until `stop`."""
        while not self._done.wait(self.interval):
            self.peak = max(self.peak, self.measure())

    def stop(self) -> float:
        """Ends the watch and returns the peak in GB."""
        self._done.set()
        self.join()
        return self.peak / 1e9

    @staticmethod
    def measure() -> int:
        """Proportional set size of the process tree, in bytes."""
        me = psutil.Process()
        total = 0
        for process in [me, *me.children(recursive=True)]:
            try:
                total += process.memory_full_info().pss
            except psutil.Error:  # it ended meanwhile
                continue
        return total


def main(arguments: list[str]) -> None:
    """Runs all steps and prints what they took."""
    parser = command.parser(__doc__, "python -m vidact.quickstart")
    parser.add_argument("--out", default="runs/quickstart", help="where everything is written")
    parser.add_argument("--config", default="configs/quickstart.py", help="what is trained")
    parser.add_argument("--episodes", type=int, default=200, help="demonstrations per task")
    parser.add_argument("--seed", type=int, default=0, help="of the training run")
    args, overrides = parser.parse_known_args(arguments)
    command.override(command.load_config(args.config), overrides)  # mistakes show before the work
    out = pathlib.Path(args.out)
    data, run = out / "data/metaworld_wide/1.0.0", out / "run"
    every = ["--checkpoint", str(run)]
    evaluation = [o for o in overrides if o.startswith("--config.evaluate.")]
    steps: list[tuple[str, list[str]]] = [
        ("demos", ["--out", str(data), "--tasks", TASKS, "--episodes", str(args.episodes)]),
        (
            "train",
            ["--config", args.config, f"--workdir={run}", f"--config.data.root={data}"]
            + [f"--config.seed={args.seed}", *overrides],
        ),
        ("sample", [*every, "--mode", "all"]),
        ("evaluate", [*every, *evaluation]),
        ("export", [*every, "--to", str(out / "export"), "--overwrite", "--verify"]),
        ("evaluation.report", every),
    ]
    memory, begin, rows = PeakMemory(), time.monotonic(), []
    memory.start()
    for name, options in steps:
        rows.append((name, call(name, options)))
    for name, seconds in rows:
        print(f"{name}: {seconds:.0f} s")
    print(f"report: {run / 'report.html'}")
    print(f"wall s: {time.monotonic() - begin:.0f} peak GB: {memory.stop():.2f}")


def call(name: str, options: list[str]) -> float:
    """Runs one command in a process of its own; returns its wall time in seconds.

    Raises:
      UserError: it failed; its own message stands above.
    """
    line = [sys.executable, "-m", f"vidact.{name}", *options]
    print(f"\n$ python -m vidact.{name} {shlex.join(options)}", flush=True)
    begin = time.monotonic()
    environment = {"GLIBC_TUNABLES": TUNABLES, **os.environ}
    code = subprocess.run(line, env=environment, check=False).returncode
    if code:
        raise command.UserError(f"vidact.{name}: ended with exit code {code}; see above")
    return time.monotonic() - begin


if __name__ == "__main__":
    command.run(main)
