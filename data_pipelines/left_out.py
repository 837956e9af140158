"""Windows that a sidecar lacks since they cannot be read: which and why, in a JSON file beside it.

windows-00003-of-00012.left_out.json belongs to windows-00003-of-00012.safetensors. Where none is
left out there is no such file.
"""

import dataclasses
import json
import pathlib
from collections.abc import Sequence

import numpy as np

from data_pipelines.windows import Windows
from vidact import whole
from vidact.errors import UserError


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """Windows that could not be read.

    Attributes:
      windows: which.
      reasons: what was wrong, each once, in the order of meeting.
    """

    windows: Windows
    reasons: tuple[str, ...] = ()


def write(path: pathlib.Path, windows: Windows, reasons: Sequence[str]) -> None:
    """Lists what one file of a sidecar lacks; to be called before that file is written.

    Args:
      path: the sidecar's file, which is not there without its list then.
      windows: which it will lack; an older list is removed where there are none.
      reasons: why.
    """
    file = _beside(path)
    if not len(windows):
        file.unlink(missing_ok=True)
        return
    told = {
        "episodes": windows.episodes.tolist(),
        "starts": windows.starts.tolist(),
        "reasons": list(reasons),
    }
    whole.write(file, json.dumps(told, indent=1) + "\n")


def read(paths: Sequence[pathlib.Path]) -> LeftOut:
    """What some files of a sidecar lack together.

    Raises:
      UserError: a list is damaged.
    """
    parts = [_read(_beside(path)) for path in paths]
    return LeftOut(
        Windows(
            np.concatenate([part.windows.episodes for part in parts]),
            np.concatenate([part.windows.starts for part in parts]),
        ),
        tuple(dict.fromkeys(reason for part in parts for reason in part.reasons)),
    )


def _beside(path: pathlib.Path) -> pathlib.Path:
    return path.with_suffix(".left_out.json")


def _read(file: pathlib.Path) -> LeftOut:
    if not file.is_file():
        return LeftOut(Windows(np.zeros(0, np.int64), np.zeros(0, np.int64)))
    try:
        told = json.loads(file.read_text())
        named = (np.array(told[name], np.int64) for name in ("episodes", "starts"))
        return LeftOut(Windows(*named), tuple(map(str, told["reasons"])))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{file}: damaged ({error!r}); restore it, or write it again") from error
