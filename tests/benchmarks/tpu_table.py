"""Compiles the paper's model for several pods and writes the table of docs/tpu.md.

Examples:
  python tests/benchmarks/tpu_table.py
  python tests/benchmarks/tpu_table.py --fast --out table.md

Each pod is a process of `python -m vidact.compile_check`; a full compile takes about 5 minutes of
CPU, one of --fast 90 seconds. The table stands behind the line TABLE of the file, whose end it
replaces.
"""

import argparse
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FROZEN = (
    "--config.train.freeze=('^refiner/','video-branch')",
    "--config.train.frozen_dtype=bfloat16",
)
DOTS = ("--config.model.remat=dots",)
PODS = (
    ("v5e:1x1", 1, FROZEN),
    ("v5e:4x4", 4, ()),
    ("v5e:16x16", 2, DOTS),
    ("v5e:16x16", 2, ("--slices=2", *DOTS)),
    ("v5p:4x4x4", 4, DOTS),
    ("v6e:16x16", 2, DOTS),
    ("v4:4x4x4", 2, DOTS),
)
TABLE = "<!-- tests/benchmarks/tpu_table.py -->\n"
COLUMNS = {
    "hbm per chip, GiB": r"hbm per chip: (\S+) GiB",
    "replicated": r"replicated bytes: (.*)",
    "TFLOP per step": r"flops per step: (\S+)",
    "sent per chip": r"collective bytes per step: (\S+ GB)",
    "step s, by": r"roofline step time: (.*) \(",
    "mfu bound": r"mfu bound: (\S+)",
    "compile": r"compile time: (.*)",
}


def row(topology: str, batch: int, more: tuple[str, ...], fast: bool) -> str:
    """A pod's line of the table."""
    line = [sys.executable, "-m", "vidact.compile_check", "--config", "configs/covar_1b4.py"]
    line += [f"--topology={topology}", f"--batch={batch}", *more, *(["--fast"] if fast else [])]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(line)}: {done.stdout}{done.stderr}")
    found = [re.search(pattern, done.stdout)[1] for pattern in COLUMNS.values()]
    found[2] = f"{float(found[2]) / 1e12:.0f}"
    return f"| {' | '.join((f'`{topology}`', str(batch), ' '.join(more) or '-', *found))} |\n"


def main() -> None:
    """Compiles and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fast", action="store_true", help="compile with the least effort")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs/tpu.md")
    args = parser.parse_args()
    head = ["topology", "batch per chip", "settings", *COLUMNS]
    text = f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n"
    for topology, batch, more in PODS:
        text += row(topology, batch, more, args.fast)
        print(text.splitlines()[-1], flush=True)
    before = args.out.read_text().partition(TABLE)[0] if args.out.is_file() else ""
    args.out.write_text(before + TABLE + text)


if __name__ == "__main__":
    main()
