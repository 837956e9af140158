"""Compiles the paper's model for several pods and writes the table of docs/tpu.md.

Examples:
  python tests/benchmarks/tpu_table.py --fast
  python tests/benchmarks/tpu_table.py --fast --only v5e:4x4 --out table.md

Each row is a process of `python -m vidact.compile_check`: two to six minutes of CPU with --fast,
up to forty without. Compiled programs are kept in --keep: stopped and called again, the script goes
on where it was, and after a change to what only counts it compiles nothing. The table stands behind
the line TABLE of the file, whose end it replaces.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys

from tqdm import tqdm

ROOT = pathlib.Path(__file__).resolve().parents[2]
KEPT = ROOT / "runs/tpu_table"
FROZEN = (
    "--config.train.freeze=('^refiner/','video-branch')",
    "--config.train.frozen_dtype=bfloat16",
)
LORA = (*FROZEN, "--config.model.lora_rank=16")
DOTS = ("--config.model.remat=dots",)
# 1152 rows in 32 parts are 36, which XLA pads to twice as much before it sends them; 4608 and 2304
# columns divide well.
WIDE = (
    "--config.mesh.fsdp=32",
    "--config.mesh.rules=(('/(fc1|kv_linear)/kernel$',(None,'fsdp')),)",
)
# (what it is, topology, samples per chip, more arguments)
ROWS: tuple[tuple[str, str, int, tuple[str, ...]], ...] = (
    ("video frozen", "v5e:1x1", 1, FROZEN),
    ("video frozen, LoRA of rank 16", "v5e:1x1", 1, LORA),
    ("from scratch", "v5e:4x4", 4, ()),
    ("video frozen", "v5e:4x4", 4, FROZEN),
    ("video frozen, LoRA of rank 16", "v5e:4x4", 4, LORA),
    ("from scratch, a sample on four chips", "v5e:4x4", 1, ("--config.mesh.context=4",)),
    ("from scratch", "v5e:16x16", 2, DOTS),
    ("from scratch", "v5e:16x16", 4, ()),
    ("from scratch", "v5e:16x16", 2, ("--slices=2", *DOTS)),
    ("from scratch", "v6e:16x16", 2, DOTS),
    ("from scratch", "v6e:16x16", 1, (*WIDE, *DOTS)),
    ("from scratch", "v5p:4x4x4", 4, DOTS),
    ("from scratch", "v4:4x4x4", 2, DOTS),
    ("from scratch, from pixels", "v5e:4x4", 1, ("--from-pixels",)),
    ("sampler", "v5e:1x1", 4, ("--sample",)),
)
TABLE = "<!-- tests/benchmarks/tpu_table.py -->\n"
COLUMNS = {
    "GiB a chip": r"hbm per chip: (\S+) GiB",
    "replicated": r"replicated bytes: (.*)",
    "TFLOP a step": r"flops per step: (\S+)",
    "sent by a chip": r"collective bytes per step: (\S+ GB)",
    "step s, by": r"roofline step time: (.*?) s (by \w+)",
    "compute, memory, ici, dcn s": r"\(compute (\S+) memory (\S+) ici (\S+) dcn (\S+)\)",
    "mfu bound": r"mfu bound: (\S+)",
    "compile s": r"compile time: (\S+)",
}


def command(topology: str, batch: int, more: tuple[str, ...], fast: bool) -> list[str]:
    """A row's arguments behind `python -m vidact.compile_check`."""
    line = ["--config", "configs/covar_1b4.py", f"--topology={topology}", f"--batch={batch}"]
    return [*line, *more, *(["--fast"] if fast else [])]


def compile_check(*arguments: str) -> subprocess.CompletedProcess:
    """Runs the command as a user does: it must set up JAX by itself."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("JAX", "XLA", "TPU"))}
    line = [sys.executable, "-m", "vidact.compile_check", *arguments]
    return subprocess.run(
        line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def output(line: list[str], keep: pathlib.Path = KEPT) -> str:
    """What the command prints."""
    done = compile_check(*line, f"--keep={keep}")
    if done.returncode not in (0, 1) or not done.stdout:
        raise RuntimeError(f"{' '.join(line)}: {done.stdout}{done.stderr}")
    return done.stdout


def row(name: str, topology: str, batch: int, more: tuple[str, ...], printed: str) -> str:
    """A line of the table; a program that does not fit says so in the column of memory."""
    found = [re.search(pattern, printed) for pattern in COLUMNS.values()]
    cells = [" ".join(match.groups()) if match else "" for match in found]
    if short := re.search(r"does not fit .*?: (needs [\d.]+ GiB)", printed):
        cells[0] = f"does not fit, {short[1]}"
    cells[2] = f"{float(cells[2]) / 1e12:.0f}" if cells[2] else ""
    settings = " ".join(f"`{argument}`" for argument in more).replace("|", "\\|")
    return f"| {' | '.join((name, f'`{topology}`', str(batch), settings, *cells))} |\n"


def main() -> None:
    """Compiles and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fast", action="store_true", help="compile with less effort")
    parser.add_argument("--only", default="", help="rows of this topology")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs/tpu.md")
    parser.add_argument("--keep", type=pathlib.Path, default=KEPT)
    args = parser.parse_args()
    head = ["variant", "topology", "batch a chip", "settings", *COLUMNS]
    text = f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n"
    rows = [row for row in ROWS if args.only in ("", row[1])]
    for name, topology, batch, more in tqdm(rows, desc="compiling", unit="row"):
        printed = output(command(topology, batch, more, args.fast), args.keep)
        text += row(name, topology, batch, more, printed)
        tqdm.write(text.splitlines()[-1])
    before = args.out.read_text().partition(TABLE)[0] if args.out.is_file() else ""
    args.out.write_text(before + TABLE + text)


if __name__ == "__main__":
    main()
