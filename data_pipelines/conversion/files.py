"""Files of a conversion: made in a local scratch folder, then put in place whole.

`out` may lie where `etils.epath` reaches and the local file system does not (gs://...).
"""

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence

from etils import epath

SCRATCH = ".writing-"


def is_local(path: epath.Path) -> bool:
    """Whether the operating system knows the path."""
    return "://" not in os.fspath(path)


@contextlib.contextmanager
def scratch(out: epath.Path) -> Iterator[pathlib.Path]:
    """A folder of one's own; beside the target if that is local, so that a rename can do."""
    folder = tempfile.mkdtemp(prefix=SCRATCH, dir=os.fspath(out) if is_local(out) else None)
    try:
        yield pathlib.Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put(path: pathlib.Path, out: epath.Path) -> None:
    """Moves a finished file to `out` under its name, where it appears whole."""
    target = out / path.name
    if is_local(out):
        path.chmod(0o644)
        os.replace(path, target)
    else:  # an object store shows a file when all of it is there
        epath.Path(path).copy(target, overwrite=True)


def put_text(text: str, out: epath.Path, name: str) -> None:
    """Writes a text file, whole or not at all."""
    with scratch(out) as folder:
        (folder / name).write_text(text)
        put(folder / name, out)


@contextlib.contextmanager
def fetched(out: epath.Path, names: Sequence[str]) -> Iterator[pathlib.Path]:
    """A local folder that holds these files of `out`."""
    if is_local(out):
        yield pathlib.Path(out)
        return
    with scratch(out) as folder:
        for name in names:
            (out / name).copy(folder / name)
        yield folder


def clean(out: epath.Path) -> None:
    """Removes what a killed run was writing; call it while nobody writes."""
    if is_local(out):
        for path in pathlib.Path(out).glob(f"{SCRATCH}*"):
            shutil.rmtree(path)
