"""The one door to every source: 'rlds:DIR', 'lerobot:DIR', ... or a bare folder."""

from collections.abc import Callable

from etils import epath

from data_pipelines.sources.recording import Source
from data_pipelines.sources.rlds import open_rlds
from vidact.errors import UserError

OPENERS: dict[str, Callable[[str, str], Source]] = {"rlds": open_rlds}


def open_source(spec: str, split: str = "train") -> Source:
    """Opens a data set.

    Args:
      spec: KIND:DIR, or DIR alone, whose kind is told by what lies in it.
      split: as the data set names it.

    Raises:
      UserError: no such kind or folder; see also the openers.
    """
    kind, _, rest = spec.partition(":")
    if kind in OPENERS and rest:
        return OPENERS[kind](rest, split)
    if not epath.Path(spec).exists():
        raise UserError(
            f"{spec}: no such folder; set config.data.root to a data set's, or to KIND:DIR with "
            f"one of the kinds {', '.join(OPENERS)}"
        )
    return OPENERS["rlds"](spec, split)
