"""Decides, from pip's dry-run report, whether and from where an installation may go ahead.

PyPI's PyTorch brings several gigabytes of CUDA packages, which a machine without a GPU has no use
for. Standard library only: it runs before anything is installed.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from typing import Any

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
CUDA_PREFIXES = ("nvidia-", "cuda-", "triton")


class PlanError(Exception):
    """The installation cannot go ahead; the message is one line for the user."""


def cuda_packages(report: dict[str, Any]) -> list[str]:
    """Names of the packages in pip's `--report` that only a CUDA build needs, sorted."""
    names = (item["metadata"]["name"].lower().replace("_", "-") for item in report["install"])
    return sorted(name for name in names if name.startswith(CUDA_PREFIXES))


def choose_index(look: Callable[[list[str]], dict[str, Any]], want_cuda: bool) -> list[str]:
    """Further arguments for `pip install`: none, or those that select PyTorch's CPU index.

    Args:
      look: runs the dry run with further arguments and returns its report.
      want_cuda: CUDA packages were asked for (extra `gpu`), so any report will do.

    Raises:
      PlanError: CUDA packages would come even so, or pip finds no solution.
    """
    if want_cuda:
        return []
    unwanted = cuda_packages(look([]))
    if not unwanted:
        return []
    arguments = ["--extra-index-url", CPU_INDEX]
    if not cuda_packages(look(arguments)):
        return arguments
    raise PlanError(
        f"torch for Python {sys.version_info[0]}.{sys.version_info[1]} would bring {len(unwanted)} "
        f"CUDA packages ({unwanted[0]}, ...) and {CPU_INDEX} offers no CPU build or cannot be "
        "reached; put a CPU wheel where pip finds it (PIP_FIND_LINKS=FOLDER), or pass "
        "`--without torch` to launch/test.sh"
    )


def dry_run(arguments: Iterable[str]) -> dict[str, Any]:
    """The report of `pip install --dry-run` with these arguments.

    Raises:
      PlanError: pip finds no solution; the message ends with pip's own last line.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet"]
        command += ["--retries", "1", "--report", str(path), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise PlanError(f"pip cannot install this: {lines[-1] if lines else done.stderr!r}")
        return json.loads(path.read_text())
