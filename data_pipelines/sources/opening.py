"""The one door to every source: 'rlds:DIR', 'hdf5:DIR', ... or a bare folder."""

from collections.abc import Callable
from typing import NamedTuple

from etils import epath

from data_pipelines.sources.converted import is_converted, open_converted
from data_pipelines.sources.folder import is_folder, open_folder
from data_pipelines.sources.hdf5 import is_hdf5, open_hdf5
from data_pipelines.sources.lerobot import is_lerobot, open_lerobot
from data_pipelines.sources.recording import Source
from data_pipelines.sources.rlds import is_rlds, open_rlds
from vidact.errors import UserError


class Kind(NamedTuple):
    """A form of data sets: whether a folder is of it, and what opens it."""

    tells: Callable[[epath.Path], bool]
    opens: Callable[[str, str], Source]


# The first that tells a folder for its own opens it.
KINDS = {
    "converted": Kind(is_converted, open_converted),
    "lerobot": Kind(is_lerobot, open_lerobot),
    "rlds": Kind(is_rlds, open_rlds),
    "hdf5": Kind(is_hdf5, open_hdf5),
    "folder": Kind(is_folder, open_folder),
}


def open_source(spec: str, split: str = "train") -> Source:
    """Opens a data set.

    Args:
      spec: KIND:DIR, or DIR alone, whose kind is told by what lies in it.
      split: as the data set names it.

    Raises:
      UserError: no such kind or folder; see also the openers.
    """
    kind, _, rest = spec.partition(":")
    if kind in KINDS and rest:
        return KINDS[kind].opens(rest, split)
    folder = epath.Path(spec)
    if not folder.exists():
        raise UserError(
            f"{spec}: no such folder; set config.data.root to a data set's, or to KIND:DIR with "
            f"one of the kinds {', '.join(KINDS)}"
        )
    for known in KINDS.values():
        if known.tells(folder):
            return known.opens(spec, split)
    return open_rlds(spec, split)  # says what an RLDS folder holds
