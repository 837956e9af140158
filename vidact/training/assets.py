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
        copying = ocp.future.CommitFutureAwaitingContractedSignals(
            self._copy(pathlib.Path(directory), args.source), name="copy_assets"
        )
        return [copying]

    def save(self, directory: epath.Path, args: "Copy", **_) -> None:
        """Is never called: checkpoints are written in the background."""
        raise NotImplementedError

    def restore(self, directory: epath.Path, args: Any = None, **_) -> pathlib.Path:
        """The folder itself, whose files are read as those of a work directory."""
        return pathlib.Path(directory)

    async def _copy(self, directory: pathlib.Path, source: pathlib.Path) -> None:
        if jax.process_index() == 0:
            for path in source.iterdir():
                shutil.copy2(path, directory / path.name)


@ocp.args.register_with_handler(CopyHandler, for_save=True, for_restore=True)
@dataclasses.dataclass
class Copy(ocp.args.CheckpointArgs):
    """What `CopyHandler` is given.

    Attributes:
      source: a folder of files that do not change any more.
    """

    source: pathlib.Path
