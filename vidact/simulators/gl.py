"""Finds a GL library for MuJoCo before MuJoCo or OpenGL is imported.

Order: what the user names in MUJOCO_GL; EGL, if it can open a context here; the system's OSMesa;
the OSMesa bundled in the PyPI wheel `lavavu-osmesa`, for machines with no GL library at all.
"""

import ctypes
import importlib.metadata
import importlib.util
import os
import pathlib
import subprocess
import sys

from vidact.errors import UserError

WHEEL = "lavavu-osmesa"
SYSTEM_OSMESA = ("libOSMesa.so", "libOSMesa.so.8", "libOSMesa.so.6")
PROBE = "import mujoco; mujoco.GLContext(16, 16).make_current()"
PROBE_SECONDS = 60.0
_bundled: list[ctypes.CDLL] = []


def activate() -> str:
    """Chooses MUJOCO_GL, sets it, and returns it; safe to call again and in child processes.

    Raises:
      UserError: MuJoCo is not installed, or no GL library works on this machine.
    """
    if importlib.util.find_spec("mujoco") is None:
        raise UserError("mujoco: not installed; run `pip install -e '.[metaworld]'`")
    chosen = os.environ.get("MUJOCO_GL")
    if not chosen:
        chosen = "egl" if _egl_works() else "osmesa"
    # llvmpipe would start a thread per core in each of our one-per-core processes.
    os.environ.setdefault("LP_NUM_THREADS", "1")
    if chosen == "osmesa" and not any(_loads(name) for name in SYSTEM_OSMESA):
        _use_bundled_osmesa()
    os.environ["MUJOCO_GL"] = chosen
    return chosen


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _egl_works() -> bool:
    """Tries EGL in a process of its own: a library without a driver loads, then may crash."""
    if not _loads("libEGL.so.1"):
        return False
    environment = {**os.environ, "MUJOCO_GL": "egl"}
    environment.pop("PYOPENGL_PLATFORM", None)
    try:
        probe = subprocess.run(
            [sys.executable, "-c", PROBE],
            env=environment,
            capture_output=True,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return probe.returncode == 0


def _bundled_folder() -> pathlib.Path | None:
    try:
        files = importlib.metadata.distribution(WHEEL).files or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found = [f for f in files if f.name.startswith("libOSMesa")]
    return pathlib.Path(str(found[0].locate())).parent if found else None


def _load_all(folder: pathlib.Path) -> list[ctypes.CDLL]:
    """Loads the wheel's libraries, dependencies first, found by trying until nothing moves."""
    waiting = sorted(folder.glob("*.so*"))
    loaded: list[ctypes.CDLL] = []
    while waiting:
        failed = []
        for path in waiting:
            try:
                loaded.append(ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL))
            except OSError:
                failed.append(path)
        if len(failed) == len(waiting):
            raise UserError(
                f"{failed[0]}: does not load; reinstall it with "
                f"`pip install --no-deps --force-reinstall {WHEEL}`"
            )
        waiting = failed
    return loaded


def _use_bundled_osmesa() -> None:
    """Loads the wheel's OSMesa and lets PyOpenGL, which asks ctypes for a name, find it."""
    if _bundled:
        return
    folder = _bundled_folder()
    if folder is None:
        raise UserError(
            "MuJoCo: no GL library works on this machine; run "
            f"`pip install --no-deps {WHEEL}` or `apt install libosmesa6`"
        )
    _bundled.extend(_load_all(folder))
    osmesa = str(next(folder.glob("libOSMesa*")))
    load = ctypes.CDLL.__init__

    def load_or_redirect(self, name=None, *args, **kwargs):
        if isinstance(name, str) and name.startswith("libOSMesa"):
            name = osmesa
        load(self, name, *args, **kwargs)

    ctypes.CDLL.__init__ = load_or_redirect  # type: ignore[method-assign]
