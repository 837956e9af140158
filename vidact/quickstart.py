r"""The main job, end to end: record, train, sample, evaluate, export and report.

Examples:
  python -m vidact.quickstart
  python -m vidact.quickstart --out runs/second --config.seed=1
  python -m vidact.quickstart --out runs/short --config.demos.episodes=20 \
      --config.train.steps=100 --config.evaluate.rollouts=4

Every step is one of vidact's commands, printed before it runs, so that each can be repeated alone.
Run it again to continue where it stopped: what is finished is not done twice, unless its arguments
or its configuration have changed; other recordings or another model ask for another --out. SIGTERM
goes on to the step that runs. Exit codes: 0 finished, 75 told to go (the same command goes on), any
other that of the step that failed.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import shlex
import sys
import threading
import time
from collections.abc import Sequence

import ml_collections
import psutil

from vidact import child, command
from vidact.evaluation import files
from vidact.training import preemption

DATA, RUN, RECORD = "data/metaworld/1.0.0", "run", "finished.json"
CHECKPOINTS = "checkpoints"  # as in vidact.training.checkpoints, which would import JAX here
# glibc then asks the kernel for huge pages: a training step otherwise spends a third of its time
# on page faults for XLA's temporary buffer.
TUNABLES = "glibc.malloc.hugetlb=1"


@dataclasses.dataclass(frozen=True)
class Step:
    """One command of vidact.

    Attributes:
      name: its module below `vidact`.
      options: its arguments.
      config: hash of the settings that it reads.
      result: what is there once it is done.
    """

    name: str
    options: list[str]
    config: str
    result: pathlib.Path


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
    """Runs all steps that are not done yet and prints what they took."""
    parser = command.parser(__doc__, "python -m vidact.quickstart")
    parser.add_argument("--out", default="runs/quickstart", help="where everything is written")
    parser.add_argument("--config", default="configs/quickstart.py", help="what is trained")
    args, overrides = parser.parse_known_args(arguments)
    config = command.override(command.load_config(args.config), overrides)  # mistakes show now
    out = pathlib.Path(args.out)
    command.check_writable(out)
    memory, begin = PeakMemory(), time.monotonic()
    memory.start()
    run_steps(steps(out, args.config, config, overrides), out)
    print(f"report: {out / RUN / files.REPORT}")
    print(f"wall s: {time.monotonic() - begin:.0f} peak GB: {memory.stop():.2f}")


def steps(
    out: pathlib.Path, config_file: str, config: ml_collections.ConfigDict, overrides: Sequence[str]
) -> list[Step]:
    """The commands in their order."""
    data, run, export = out / DATA, out / RUN, out / "export"
    demos = [o for o in overrides if o.startswith("--config.demos.")]
    evaluation = [o for o in overrides if o.startswith("--config.evaluate.")]
    checkpoint = ["--checkpoint", str(run)]
    target = ["--config", config_file, f"--workdir={run}", f"--config.data.root={data}"]
    last = run / CHECKPOINTS / str(config.train.steps)
    replaced = [*checkpoint, "--to", str(export), "--overwrite", "--verify", *evaluation]
    recorded, whole = _digest(config.demos), _digest(config)
    return [
        Step("demos", ["--out", str(data), "--config", config_file, *demos], recorded, data),
        Step("train", [*target, *overrides], whole, last),
        Step("sample", [*checkpoint, *evaluation], whole, run / files.SAMPLES),
        Step("evaluate", [*checkpoint, *evaluation], whole, run / files.EVALUATION),
        Step("export", replaced, whole, export),
        Step("evaluation.report", checkpoint, whole, run / files.REPORT),
    ]


def _digest(config: ml_collections.ConfigDict) -> str:
    text = json.dumps(config.to_dict(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def run_steps(todo: Sequence[Step], out: pathlib.Path) -> None:
    """Runs the steps from the first one on that has not been done, and keeps their times.

    A step counts as done where an earlier call finished it with the same arguments and settings,
    its result is still there and no step before it had to be run.
    """
    record = out / RECORD
    before = (files.read_json(record) or {}) if record.is_file() else {}
    done: dict[str, dict] = {}
    for step in todo:
        entry, key = before.get(step.name), {"options": step.options, "config": step.config}
        if entry and entry.items() >= key.items() and step.result.exists():
            print(f"{step.name}: done before, in {entry['seconds']:.0f} s")
        else:
            before = {}
            entry = {**key, "seconds": call(step.name, step.options)}
        done[step.name] = entry
        files.write_json(record, done)
        if (out / RUN).is_dir():  # the report shows them
            seconds = {name: row["seconds"] for name, row in done.items()}
            files.write_json(out / RUN / files.TIMINGS, seconds)
    for name, row in done.items():
        print(f"{name}: {row['seconds']:.0f} s")


def call(name: str, options: list[str]) -> float:
    """Runs one command in a process of its own; returns its wall time in seconds.

    Raises:
      SystemExit: it failed; its own message stands above and its exit code is passed on.
    """
    line = [sys.executable, "-m", f"vidact.{name}", *options]
    print(f"\n$ python -m vidact.{name} {shlex.join(options)}", flush=True)
    begin = time.monotonic()
    environment = {"GLIBC_TUNABLES": TUNABLES, **os.environ}
    code = child.run(line, environment)
    if code == preemption.EXIT_CODE:
        print(f"vidact.{name}: told to go; the same command goes on", file=sys.stderr)
    elif code:
        print(f"error: vidact.{name}: ended with exit code {code}; see above", file=sys.stderr)
    if code:
        sys.exit(code)
    return time.monotonic() - begin


if __name__ == "__main__":
    command.run(main)
