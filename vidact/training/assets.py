"""A work directory's `assets`, copied into each checkpoint: an item of Orbax's of its own."""

import dataclasses
import pathlib
import shutil
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

FOLDER = "assets"


class CopyHandler(ocp.AsyncCheckpointHandler):
    """Copies a folder's files; one process does it for all."""

    async def async_save(self, directory: epath.Path, args: "Copy", **_) -> list[ocp.future.Future]:
        """Begins to copy; Orbax waits for the folder that it makes meanwhile."""

        async def copy() -> None:
            self.save(directory, args)

        return [ocp.future.CommitFutureAwaitingContractedSignals(copy(), name="copy_assets")]

    def save(self, directory: epath.Path, args: "Copy", **_) -> None:
        """Copies now, if this is the first process."""
        if jax.process_index() == 0:
            for path in args.source.iterdir():
                shutil.copy2(path, pathlib.Path(directory) / path.name)

    def restore(self, directory: epath.Path, args: Any = None, **_) -> pathlib.Path:
        """The folder itself, whose files are read as those of a work directory."""
        return pathlib.Path(directory)


@ocp.args.register_with_handler(CopyHandler, for_save=True, for_restore=True)
@dataclasses.dataclass
class Copy(ocp.args.CheckpointArgs):
    """What `CopyHandler` is given.

    Attributes:
      source: a folder of files that do not change any more.
    """

    source: pathlib.Path
