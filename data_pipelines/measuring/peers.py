"""Other pipelines' programs: the environments that they run in, and the talk with them."""

import contextlib
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple

from vidact.errors import UserError

ENVIRONMENTS = ("tfdata", "lerobot")
FOLDER = pathlib.Path.home() / ".cache" / "vidact" / "peers"
PROGRAMS = pathlib.Path(__file__).resolve().parent / "programs"
_HOW = "make it by python -m data_pipelines.benchmark --setup-peers"
_DONE, _FFMPEG = "installed.txt", "ffmpeg"


class Cost(NamedTuple):
    """Milliseconds a window: CPU time of all threads and child processes, and the clock's."""

    cpu_ms: float
    wall_ms: float


class Side:
    """A program that stands still until it is asked to measure.

    Attributes:
      places: episode and first step of the windows of its first batch; below 0 where the window
        begins before its episode.
      sha256: of their pixels, window by window; empty where they are no recorded frames.
    """

    def __init__(self, name: str, process: subprocess.Popen, errors: IO[str]):
        """Waits until the program has told its first batch."""
        assert process.stdin is not None and process.stdout is not None
        self._name, self._errors = name, errors
        self._asked, self._answers = process.stdin, process.stdout
        told = self._read()
        self.places: list[list[int]] = told["places"]
        self.sha256: list[str] = told.get("sha256", [])

    def measure(self) -> Cost:
        """What its next batches cost.

        Raises:
          UserError: the program has ended.
        """
        with contextlib.suppress(BrokenPipeError):  # what is read next says why
            self._asked.write("measure\n")
            self._asked.flush()
        return Cost(**self._read())

    def _read(self) -> dict:
        line = self._answers.readline()
        try:
            return json.loads(line)
        except ValueError as error:
            self._errors.seek(0)
            said = [line, *self._errors.read().split("\n")]
            last = next((text.strip() for text in reversed(said) if text.strip()), "nothing")
            raise UserError(
                f"{self._name}: gave no answer but: {last}; mend or leave it"
            ) from error


@contextlib.contextmanager
def started(name: str, command: Sequence[str]) -> Iterator[Side]:
    """Runs a program that speaks as `programs/peer_loop.py` does; it ends with the context.

    Args:
      name: for messages.
      command: the program and its arguments.

    Raises:
      UserError: the program ends before it answers.
    """
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            yield Side(name, process, errors)
        finally:
            process.terminate()


def command(folder: pathlib.Path, environment: str, program: str) -> list[str]:
    """How a peer's program begins: it asks no network, and finds FFmpeg beside its interpreter."""
    root = folder / environment
    variables = (f"LD_LIBRARY_PATH={root / _FFMPEG}", "HF_HUB_OFFLINE=1", "TF_CPP_MIN_LOG_LEVEL=2")
    return ["env", *variables, str(root / "bin" / "python"), str(PROGRAMS / f"{program}.py")]


def wanting(folder: pathlib.Path, environment: str) -> str:
    """One line if an environment is not there, or is one of other versions; else empty."""
    done = folder / environment / _DONE
    if done.is_file() and done.read_text() == _requirements(environment).read_text():
        return ""
    return f"peers in {folder / environment}: left out, it is not set up; {_HOW}"


def setup(folder: pathlib.Path = FOLDER) -> None:
    """Makes the environments that are not there: 9 GB, for which pip downloads 4 GB.

    Raises:
      UserError: pip fails; names the environment and pip's last line.
    """
    for environment in ENVIRONMENTS:
        if not wanting(folder, environment):
            continue
        root, wanted = folder / environment, _requirements(environment)
        venv.create(root, clear=True)
        pip = [sys.executable, "-m", "pip", "--python", str(root / "bin" / "python")]
        install = [*pip, "install", "--quiet", "--no-deps", "-r", str(wanted)]
        done = subprocess.run(install, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr.strip() or "no message").splitlines()[-1]
            raise UserError(f"{root}: pip ended with: {last}; mend it and run again")
        link_ffmpeg(root)
        (root / _DONE).write_text(wanted.read_text())


def _requirements(environment: str) -> pathlib.Path:
    return PROGRAMS / f"{environment}.txt"


def link_ffmpeg(root: pathlib.Path) -> None:
    """Gives torchcodec the FFmpeg that PyAV's wheel brings, under the names that it looks for.

    The wheel's files are named lib<name>-<hash>.so.<version>; they are linked by that name, by
    which they look for each other, and as lib<name>.so.<major>.
    """
    links = root / _FFMPEG
    for path in root.glob("lib/python*/site-packages/av.libs/*"):
        links.mkdir(exist_ok=True)
        (links / path.name).symlink_to(path.resolve())
        found = re.fullmatch(r"(lib(?:av|sw)[a-z]+)-[0-9a-f]+(\.so\.\d+)[.\d]*", path.name)
        if found:
            (links / f"{found[1]}{found[2]}").symlink_to(path.resolve())
