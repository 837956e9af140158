"""Files that are there whole or not at all: written under another name, then renamed."""

import contextlib
import os
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path: pathlib.Path, shared: bool = False) -> Iterator[pathlib.Path]:
    """A name beside `path` to write a file under, which takes its place when the block ends.

    Where the block fails, what was at `path` stays. What a killed process leaves is written over.

    Args:
      path: the file; its folder is made where it is missing.
      shared: several processes may write it at the same time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    by = f".{os.getpid()}" if shared else ""
    partial = path.with_name(f".{path.name}{by}.partial")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write(path: pathlib.Path, content: str | bytes, shared: bool = False) -> None:
    """Writes a file of text, as UTF-8, or bytes; see `replacing`."""
    data = content.encode() if isinstance(content, str) else content
    with replacing(path, shared) as partial:
        partial.write_bytes(data)
