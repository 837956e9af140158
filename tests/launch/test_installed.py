"""What the scripts have put on this machine: one cv2, no TensorFlow, no CUDA, GL from pip."""

import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
GL_NAMES = ("libGL", "libEGL", "libOSMesa", "libOpenGL", "libgbm")

# Python imports this at its start, in the process under test and in those it starts.
HIDE_GL = f"""
import ctypes, os
load = ctypes.CDLL.__init__
def refuse(self, name=None, *args, **kwargs):
    base, folder = os.path.basename(str(name)), os.path.dirname(str(name))
    if base.startswith({GL_NAMES!r}) and "site-packages" not in folder:
        raise OSError(f"{{name}}: hidden by the test")
    load(self, name, *args, **kwargs)
ctypes.CDLL.__init__ = refuse
"""

RENDER = f"""
from vidact.simulators import gl
gl.activate()
import cv2, mujoco, numpy
print("cv2", cv2.__version__)
scene = '''<mujoco><worldbody><light pos="0 0 3"/><geom size=".4" rgba="1 0 0 1"/>
<camera name="c" pos="0 -2 0" xyaxes="1 0 0 0 0 1"/></worldbody></mujoco>'''
model = mujoco.MjModel.from_xml_string(scene)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 64, 64) as renderer:
    renderer.update_scene(data, "c")
    image = renderer.render()
print("shape", image.shape, "red", int(image[32, 32, 0]), "corner", int(image[0, 0].max()))
loaded = {{line.split()[-1] for line in open("/proc/self/maps") if "/" in line}}
for path in sorted(loaded):
    if path.split("/")[-1].startswith({GL_NAMES!r}):
        print("gl", path)
"""


def names() -> set[str]:
    """The installed packages, in lower case with dashes."""
    found = (d.metadata["Name"] for d in importlib.metadata.distributions())
    return {name.lower().replace("_", "-") for name in found if name}


def test_no_tensorflow_and_no_cuda_unless_asked_for():
    stamp = pathlib.Path(sys.prefix, "vidact-installed.json")
    if not stamp.is_file() or "gpu" not in json.loads(stamp.read_text())["extras"]:
        unwanted = ("nvidia-", "cuda-", "triton", "jax-cuda")
        assert not [n for n in names() if n.startswith(unwanted)]
    assert not names() & {"tensorflow", "tensorflow-cpu", "tf-nightly", "keras"}


def test_cv2_has_one_provider():
    files = importlib.metadata.distribution("opencv-python-headless").files or []
    assert any(f.parts[0] == "cv2" for f in files)
    others = {n for n in names() if n.startswith("opencv")} - {"opencv-python-headless"}
    for other in others:
        owned = importlib.metadata.distribution(other).files or []
        assert not [f for f in owned if f.parts[0] == "cv2"], other


def test_cv2_and_mujoco_work_where_the_system_has_no_gl(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(HIDE_GL)
    chosen = ("MUJOCO_GL", "PYOPENGL_PLATFORM", "DISPLAY")  # perhaps by a test in this process
    environment = {k: v for k, v in os.environ.items() if k not in chosen}
    environment["PYTHONPATH"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(RENDER)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    libraries = [line.split(maxsplit=1)[1] for line in lines if line.startswith("gl ")]
    assert any("libOSMesa" in path for path in libraries)
    assert all("site-packages" in path for path in libraries), "a GL library of the system"
    (picture,) = [line.split() for line in lines if line.startswith("shape ")]
    assert picture[1:4] == ["(64,", "64,", "3)"]
    assert int(picture[5]) > 50, "the red ball is in the middle"
    assert int(picture[7]) == 0, "and nothing in the corner"


def test_python_has_a_lock_and_runs_its_versions():
    lock = ROOT / f"launch/locks/{sys.version_info[0]}.{sys.version_info[1]}.txt"
    pinned = dict(line.split("==") for line in lock.read_text().splitlines())
    wrong = []
    for name, version in pinned.items():
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # it belongs to an extra that is not installed
        if installed.split("+")[0] != version:
            wrong.append(f"{name} {installed}, locked {version}")
    if (pathlib.Path(sys.prefix) / "vidact-installed.json").is_file():
        assert not wrong
    else:
        pytest.fail("this environment was not made by launch/quickstart.sh or launch/test.sh")
