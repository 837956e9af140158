"""Installs vidact into the virtual environment whose Python runs this, at the locked versions.

    .venv/bin/python launch/install.py metaworld torch

A stamp in the environment makes a second call with the same lock, setup.cfg and extras free.
Standard library only: it runs before anything is installed.
"""

import configparser
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile
from subprocess import PIPE, STDOUT

from plan import PlanError, choose_index, dry_run

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOCK = ROOT / f"launch/locks/{sys.version_info[0]}.{sys.version_info[1]}.txt"
STAMP = pathlib.Path(sys.prefix, "vidact-installed.json")
GRAPHICS = {"metaworld", "sim"}  # extras that render, and so need a GL library and cv2


def say(text: str) -> None:
    print(f"vidact: {text}", flush=True)


def digest() -> str:
    """SHA-256 of all that decides which versions an extra means."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    parts = [str(dict(config[name])) for name in config.sections() if name.startswith("options")]
    files = [LOCK, ROOT / "pyproject.toml", *sorted((ROOT / "launch").glob("*.py"))]
    parts += [path.read_text() for path in files]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def read_stamp() -> tuple[set[str], bool]:
    """The extras that were installed here, and whether the lock is still the one they came from."""
    if not STAMP.is_file():
        return set(), False
    stamp = json.loads(STAMP.read_text())
    return set(stamp["extras"]), stamp["digest"] == digest()


def pinned(name: str) -> str:
    """The version of a package in the lock."""
    return dict(line.split("==") for line in LOCK.read_text().split())[name]


def write_stand_in(folder: pathlib.Path) -> None:
    """Writes a wheel named opencv-python that holds nothing and requires the headless build.

    The simulators ask for opencv-python, which needs the system's GL. Its local version sorts above
    the same version from a registry, so pip takes it, and cv2 has one provider.
    """
    version = f"{pinned('opencv-python')}+headless"
    info = f"opencv_python-{version}.dist-info"
    metadata = (
        f"Metadata-Version: 2.1\nName: opencv-python\nVersion: {version}\n"
        f"Requires-Dist: opencv-python-headless=={pinned('opencv-python-headless')}\n"
    )
    wheel = "Wheel-Version: 1.0\nGenerator: vidact\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = "".join(f"{info}/{name},,\n" for name in ("METADATA", "WHEEL", "RECORD"))
    with zipfile.ZipFile(folder / f"opencv_python-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(f"{info}/WHEEL", wheel)
        archive.writestr(f"{info}/RECORD", record)


def pip(*arguments: str) -> None:
    """Runs `pip install`, showing which package it is at; all it says goes to a file.

    Raises:
      PlanError: pip failed; the message ends with the last line that it wrote.
    """
    command = [sys.executable, "-m", "pip", "install", "--progress-bar", "off", *arguments]
    seen, last, log = 0, "", pathlib.Path(sys.prefix, "vidact-pip.log")
    with (
        log.open("a") as file,
        subprocess.Popen(command, stdout=PIPE, stderr=STDOUT, text=True) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            last = line.strip() or last
            if line.startswith(("Collecting", "Installing collected")):
                seen += 1
                show(f"  {seen:3d} {line.strip().removesuffix('...'):.70}")
    show("")
    if process.returncode:
        raise PlanError(f"pip failed: {last}; all that it said is in {log}")


def show(text: str) -> None:
    """Writes over the last line of a terminal; says nothing into a file."""
    if sys.stdout.isatty():
        print(f"\r{text:80}", end="\r" if not text else "", flush=True)


def install(extras: list[str], wheels: pathlib.Path) -> None:
    """Looks at the dry run, then installs vidact (editable) with its extras."""
    say(f"moving to pip {pinned('pip')}, whose dry run downloads nothing")
    pip(f"pip=={pinned('pip')}")
    arguments = ["--find-links", str(wheels), "--editable", f"{ROOT}[{','.join(extras)}]"]
    say("asking pip what would come (a dry run)")
    index = choose_index(lambda more: dry_run([*arguments, *more]), want_cuda="gpu" in extras)
    say(f"installing the base and {', '.join(extras)} at the versions of {LOCK.relative_to(ROOT)}")
    pip(*arguments, *index)
    if GRAPHICS & set(extras):
        say("installing a software GL library (lavavu-osmesa, without its dependencies)")
        pip("--no-deps", f"lavavu-osmesa=={pinned('lavavu-osmesa')}")


def main(wanted: set[str]) -> None:
    if not LOCK.is_file():
        raise PlanError(f"Python {sys.version.split()[0]}: no {LOCK}; use 3.11, 3.12 or 3.13")
    present, current = read_stamp()
    if current and wanted <= present:
        say(f"{sys.prefix} holds the locked versions of {', '.join(['the base', *sorted(wanted)])}")
        return
    # The environment variables reach the builds that pip isolates, unlike --constraint; they are
    # split at spaces, unlike an address.
    os.environ["PIP_CONSTRAINT"] = os.environ["PIP_BUILD_CONSTRAINT"] = LOCK.as_uri()
    extras = sorted(wanted | present)
    STAMP.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as wheels:
        write_stand_in(pathlib.Path(wheels))
        install(extras, pathlib.Path(wheels))
    STAMP.write_text(json.dumps({"digest": digest(), "extras": extras}))


if __name__ == "__main__":
    try:
        main(set(sys.argv[1:]))
    except PlanError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
