"""MuJoCo renders with the library from pip alone, with the user's choice, or says what to do."""

import os
import subprocess
import sys

import pytest

from vidact.errors import UserError
from vidact.simulators import gl

RENDER_WITHOUT_SYSTEM_GL = """
from vidact.simulators import gl
gl._loads = lambda library: False
print(gl.activate())
import mujoco
model = mujoco.MjModel.from_xml_string(
    '<mujoco><worldbody><light pos="0 0 3"/><geom size=".3"/></worldbody></mujoco>')
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = mujoco.Renderer(model, 32, 32)
renderer.update_scene(data)
print(int(renderer.render().max()))
renderer.close()
print([line.split()[-1] for line in open("/proc/self/maps") if "OSMesa" in line][0])
"""


def test_renders_with_the_systems_gl_hidden():
    environment = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL",)}
    environment.pop("PYOPENGL_PLATFORM", None)
    run = subprocess.run(
        [sys.executable, "-c", RENDER_WITHOUT_SYSTEM_GL],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    chosen, brightest, library = run.stdout.split()
    assert chosen == "osmesa"
    assert int(brightest) > 50
    assert "lavavu" in library


def test_keeps_the_users_choice(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.setattr(gl, "_egl_works", lambda: pytest.fail("must not probe"))
    assert gl.activate() == "egl"
    assert os.environ["MUJOCO_GL"] == "egl"


def test_nothing_to_render_with_is_one_line_with_a_remedy(monkeypatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(gl, "_loads", lambda library: False)
    monkeypatch.setattr(gl, "_bundled", [])
    monkeypatch.setattr(gl, "_bundled_folder", lambda: None)
    with pytest.raises(UserError, match="pip install --no-deps lavavu-osmesa") as error:
        gl.activate()
    assert "\n" not in str(error.value)
    assert "MUJOCO_GL" not in os.environ
