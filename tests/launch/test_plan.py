"""launch/plan.py on reports of the shape that pip writes, and launch/install.py's stand-in."""

import pathlib
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "launch"))

import install  # noqa: E402
import plan  # noqa: E402


def report(*names: str) -> dict:
    """A pip installation report (format version 1) that would install these packages."""
    items = [
        {"metadata": {"name": name, "version": "1.0"}, "is_direct": False, "requested": False}
        for name in names
    ]
    return {"version": "1", "pip_version": "23.2.1", "install": items, "environment": {}}


CPU = report("torch", "numpy", "sympy")
CUDA = report("torch", "nvidia-cublas", "nvidia_cudnn_cu13", "triton", "cuda-bindings", "numpy")


def test_cuda_packages_are_recognised_by_name():
    expected = ["cuda-bindings", "nvidia-cublas", "nvidia-cudnn-cu13", "triton"]
    assert plan.cuda_packages(CUDA) == expected
    assert plan.cuda_packages(CPU) == []
    assert plan.cuda_packages(report("jax-cuda13-plugin", "pycuda-like")) == []


def test_no_index_is_added_where_pip_finds_a_cpu_build():
    looks: list[list[str]] = []

    def look(arguments: list[str]) -> dict:
        looks.append(arguments)
        return CPU

    assert plan.choose_index(look, want_cuda=False) == []
    assert looks == [[]]


def test_the_cpu_index_is_used_where_cuda_packages_would_come():
    arguments = plan.choose_index(lambda more: CPU if more else CUDA, want_cuda=False)
    assert arguments == ["--extra-index-url", plan.CPU_INDEX]


def test_one_line_stops_where_cuda_packages_would_come_all_the_same():
    with pytest.raises(plan.PlanError, match="4 CUDA packages") as caught:
        plan.choose_index(lambda more: CUDA, want_cuda=False)
    assert "\n" not in str(caught.value)


def test_cuda_packages_may_come_where_they_were_asked_for():
    assert plan.choose_index(lambda more: CUDA, want_cuda=True) == []


def test_a_dry_run_reports_and_fails_in_one_line(tmp_path):
    install.write_stand_in(tmp_path)
    offline = ["--no-index", "--no-deps", "--find-links", str(tmp_path), "--ignore-installed"]
    names = [i["metadata"]["name"] for i in plan.dry_run([*offline, "opencv-python"])["install"]]
    assert names == ["opencv-python"]
    with pytest.raises(plan.PlanError, match="No matching distribution") as caught:
        plan.dry_run([*offline, "no-such-package-here"])
    assert "\n" not in str(caught.value)


def test_the_stand_in_requires_the_headless_build(tmp_path):
    install.write_stand_in(tmp_path)
    (path,) = tmp_path.iterdir()
    with zipfile.ZipFile(path) as archive:
        assert all(".dist-info/" in name for name in archive.namelist())
        metadata = archive.read(next(n for n in archive.namelist() if n.endswith("METADATA")))
    assert b"Requires-Dist: opencv-python-headless==" in metadata


def test_the_stamp_vouches_only_for_the_same_lock(tmp_path, monkeypatch):
    stamp = tmp_path / "stamp.json"
    monkeypatch.setattr(install, "STAMP", stamp)
    assert install.read_stamp() == (set(), False)
    stamp.write_text(f'{{"digest": "{install.digest()}", "extras": ["torch", "test"]}}')
    assert install.read_stamp() == ({"torch", "test"}, True)
    stamp.write_text('{"digest": "of another lock", "extras": ["torch", "test"]}')
    assert install.read_stamp() == ({"torch", "test"}, False)
