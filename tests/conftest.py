"""What all tests share: 8 virtual devices, checked shapes, `--slow`, `shared`, named skips."""

import ast
import gc
import os
import pathlib
import tempfile
from collections.abc import Iterator

# Before anything imports JAX.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    # Compiling is most of what these tests do; run times at their sizes do not matter. XLA's older
    # emitters of fused loops compile a training step in less than half the time.
    " --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    # On a busy machine the 8 devices' threads wait long for each other; XLA would abort after 40 s.
    " --xla_cpu_collective_call_terminate_timeout_seconds=600"
)
# Programs of one device run at once. Those of several stay asynchronous, and hang once 32 are in
# flight: a test that calls one in a loop waits for each.
os.environ["JAX_CPU_ENABLE_ASYNC_DISPATCH"] = "false"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Surveys of toy data sets are not kept beside the user's own.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="vidact-tests-")
# Many tests train the same small models: each program is compiled once, by whichever is first.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", f"{os.environ['XDG_CACHE_HOME']}/programs")

import jax
import jaxtyping
import pytest

# From here on every call of an annotated function checks the shapes of what it gets and returns.
jaxtyping.install_import_hook(["vidact", "data_pipelines"], "beartype.beartype")

ROOT = pathlib.Path(__file__).resolve().parent.parent
TORCH_ROOMS = ("torch.", "vidact.robot.")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests marked slow")
    parser.addoption(
        "--without-torch", action="store_true", help="leave out the tests that need PyTorch"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects, rather than skips, what belongs to another suite; puts the rest in order."""
    options = {"slow": not config.getoption("--slow"), "torch": config.getoption("--without-torch")}
    unwanted = [name for name, leave_out in options.items() if leave_out]
    left = [i for i in items if any(i.get_closest_marker(name) for name in unwanted)]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]
    # The long ones first: at the end no worker waits for the other's.
    items.sort(key=lambda item: not item.nodeid.startswith(("tests/training/", "tests/test_")))


def pytest_ignore_collect(collection_path: pathlib.Path, config: pytest.Config) -> bool | None:
    if not config.getoption("--without-torch") or collection_path.suffix != ".py":
        return None
    return True if _needs_torch(collection_path) else None


def _needs_torch(path: pathlib.Path) -> bool:
    """Whether a file imports PyTorch or a room built on it, at any depth of its own code."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return any(f"{name}.".startswith(TORCH_ROOMS) for name in names)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Ends the run by naming each skipped test and its reason, below pytest's own last line."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(config, "workerinput"):
        return
    if config.getoption("--without-torch"):
        files = sorted(path for path in ROOT.glob("tests/**/*.py") if _needs_torch(path))
        names = [str(path.relative_to(ROOT)) for path in files]
        reporter.write_line(f"left out for want of PyTorch: {', '.join(names) or 'no file'}")
    skipped = {(report.nodeid, _reason(report)) for report in reporter.stats.get("skipped", [])}
    if reporter.stats.get("passed"):
        reporter.write_line(f"skipped tests: {len(skipped)}")
    for name, reason in sorted(skipped):
        reporter.write_line(f"  {name}: {reason}")


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


@pytest.fixture(autouse=True, scope="module")
def _forget_programs() -> Iterator[None]:
    """Compiled programs live as long as their process, and a suite's take 5 GB and more."""
    yield
    jax.clear_caches()
    gc.collect()


@pytest.fixture
def own_programs(monkeypatch, tmp_path) -> None:
    """A cache of compiled programs for a test's processes alone: a kill may damage it."""
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "programs"))


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The folder ../shared, with real data; it does not belong to the repository."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():  # others' recordings, which may not be part of the repository
        pytest.skip("there is no ../shared beside the repository")
    return folder
