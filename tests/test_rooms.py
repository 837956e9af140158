"""The rooms stay apart: imports go down the line only (the README's map)."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = ("vidact", "data_pipelines")
# NumPy at most; everyone may know them.
LEAVES = {"actions", "text", "tiles", "errors", "latents", "whole"}
STRUCTURES = {"batch", "inputs"}
MODEL_SIDE = {"nn", "processes"} | STRUCTURES | LEAVES

# What a room may import from vidact and data_pipelines beside itself. Top-level commands are free.
KNOWS = {
    "errors": set(),
    "whole": set(),
    "actions": {"errors", "whole"},
    "text": {"errors"},
    "tiles": {"errors"},
    "latents": {"errors"},
    "batch": {"errors"},
    "inputs": {"errors"},
    "store": {"errors", "whole"},
    "command": {"errors"},
    "nn": {"errors"},
    "processes": {"errors"},
    "encoders": MODEL_SIDE | {"store"},
    "models": MODEL_SIDE | {"command"},
    "training": MODEL_SIDE | {"models", "encoders", "data_pipelines", "command", "vidact"},
    "evaluation": MODEL_SIDE
    | {"models", "encoders", "data_pipelines", "command", "training", "simulators"},
    "interop": MODEL_SIDE | {"models", "encoders", "training", "command", "store", "robot"},
    "simulators": {"errors"},
    "robot": LEAVES,
    "data_pipelines": {"batch", "command", "store"} | LEAVES,
}
JAX_FREE = (
    "vidact.robot",
    "vidact.simulators",
    "vidact.actions",
    "vidact.whole",
    "vidact.text",
    "vidact.tiles",
    "vidact.batch",
)


def room_of(module: str) -> str:
    """`vidact.nn.rope` is in nn, `data_pipelines.windows` in data_pipelines."""
    parts = module.split(".")
    return parts[1] if parts[0] == "vidact" and len(parts) > 1 else parts[0]


def imported(path: pathlib.Path) -> set[str]:
    """The modules of our packages that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            # `from vidact import nn` names a room; `from vidact.nn import rope` is in one already.
            whole = node.module in PACKAGES
            found |= {f"{node.module}.{a.name}" if whole else str(node.module) for a in node.names}
    return {name for name in found if name.split(".")[0] in PACKAGES}


def files() -> list[pathlib.Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("room", sorted(KNOWS))
def test_a_room_imports_only_what_lies_below_it(room):
    wrong = []
    for path in files():
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if room_of(module) != room:
            continue
        strange = {room_of(name) for name in imported(path)} - {room} - KNOWS[room]
        wrong += [f"{path.relative_to(ROOT)} imports {name}" for name in sorted(strange)]
    assert not wrong


def test_every_folder_is_a_room():
    folders = {p.name for p in (ROOT / "vidact").iterdir() if (p / "__init__.py").is_file()}
    assert folders <= set(KNOWS), "say in KNOWS what the new room may import"


def modules_under(room: str) -> list[str]:
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files()]
    return [n.removesuffix(".__init__") for n in names if n == room or n.startswith(f"{room}.")]


@pytest.mark.parametrize(
    "room", [pytest.param(r, marks=[pytest.mark.torch] * (r == "vidact.robot")) for r in JAX_FREE]
)
def test_no_jax_arrives_with(room):
    names = modules_under(room)
    assert names, room
    code = "import importlib, sys\n"
    if room == "vidact.simulators":
        code += "from vidact.simulators import gl; gl.activate()\n"
    code += f"for name in {names!r}: importlib.import_module(name)\n"
    code += "print(*sorted({'jax', 'jaxlib', 'flax', 'orbax', 'optax'} & set(sys.modules)))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


@pytest.mark.torch
def test_the_robot_loads_nothing_but_pytorch_numpy_and_safetensors():
    """It runs on a robot's computer where only these three, and the typing of shapes, are."""
    names = modules_under("vidact.robot")
    assert names
    # What these three and jaxtyping bring along themselves is theirs.
    code = "import importlib, sys\n"
    code += "import jaxtyping, numpy, safetensors.torch, torch, torch.nn.functional\n"
    code += "first = lambda: {name.split('.')[0] for name in sys.modules}\n"
    code += "theirs = first() | set(sys.stdlib_module_names) | {'vidact'}\n"
    code += f"for name in {names!r}: importlib.import_module(name)\n"
    code += "print(*sorted(first() - theirs))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""
