"""Which code wrote a checkpoint."""

import functools
import pathlib
import subprocess

import vidact

ROOT = pathlib.Path(vidact.__file__).resolve().parent.parent


@functools.cache
def code(root: pathlib.Path = ROOT) -> dict[str, str]:
    """The package's "version" and, in a clone, its "commit", with -dirty where files were changed.

    Args:
      root: the folder that holds the package.
    """
    found = {"version": vidact.__version__}
    if (root / ".git").exists():  # not a repository that the package is merely installed under
        ask = ["describe", "--always", "--dirty", "--abbrev=40", "--match="]  # "" matches no tag
        line = ["git", "-C", str(root), *ask]
        try:
            done = subprocess.run(line, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):  # no git here, or another user's clone
            return found
        found["commit"] = done.stdout.strip()
    return found
