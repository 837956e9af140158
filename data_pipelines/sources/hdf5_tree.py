"""HDF5 files read with care: nothing outside the file, and never more than a bound at once.

Only hard links are followed. Soft and external links, virtual datasets and those whose numbers lie
in other files are refused: a downloaded file could make them show any file of this machine.
"""

import contextlib
import math
from collections.abc import Iterator

import h5py
import numpy as np
from jaxtyping import Shaped

from vidact.errors import UserError

MAX_BYTES = 2**30
"""Largest piece that is read or unpacked at once: a header may claim anything."""
MAX_ATTRIBUTE = 2**24
MAX_NAMES = 4096
_REMEDY = "copy or download the file again"


@contextlib.contextmanager
def reading(where: str) -> Iterator[None]:
    """Turns what h5py raises over damage into one line that begins with `where`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # OSError, RuntimeError, KeyError, TypeError: as the damage lies
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{where}: cannot be read ({reason}); {_REMEDY}") from error


def open_file(path: str) -> h5py.File:
    """Opens a file of this machine for reading.

    Raises:
      UserError: it is missing, truncated or no HDF5 file.
    """
    with reading(path):
        return h5py.File(path, "r")


def find(group: h5py.Group, path: str, where: str) -> h5py.Group | h5py.Dataset | None:
    """What lies at `path` ('obs/ee_pos') below `group`; None where nothing does.

    Raises:
      UserError: a link that is not a hard one, or damage; begins with `where`.
    """
    found = group
    for name in path.split("/"):
        if not isinstance(found, h5py.Group):
            return None
        found = _child(found, name, f"{where}: {path}")
    return found


def datasets(group: h5py.Group, where: str) -> dict[str, h5py.Dataset]:
    """All datasets in and below `group` by their paths.

    Raises:
      UserError: as `find`; or there are more names than MAX_NAMES.
    """
    found: dict[str, h5py.Dataset] = {}
    waiting, seen = [("", group)], 0
    while waiting:
        below, outer = waiting.pop()
        inside = names(outer, where)
        seen += len(inside)
        if seen > MAX_NAMES:  # also where groups hold each other in a circle
            raise UserError(f"{where}: more than {MAX_NAMES} names; take out what is no feature")
        for name in inside:
            path = f"{below}{name}"
            inner = _child(outer, name, f"{where}: {path}")
            if isinstance(inner, h5py.Dataset):
                found[path] = inner
            elif isinstance(inner, h5py.Group):
                waiting.append((f"{path}/", inner))
    return dict(sorted(found.items()))


def names(group: h5py.Group, where: str) -> list[str]:
    """What lies in a group.

    Raises:
      UserError: damage, or a name that is no text.
    """
    with reading(where):
        found = list(group)
    for name in found:
        if not isinstance(name, str):
            raise UserError(f"{where}: {name!r} is a name that is no UTF-8; {_REMEDY}")
    return found


def _child(group: h5py.Group, name: str, where: str) -> h5py.Group | h5py.Dataset | None:
    links, key = group.id.links, name.encode()
    with reading(where):
        # h5py's own `in` and `get` would look where a link leads.
        if not links.exists(key):
            return None
        if links.get_info(key).type != h5py.h5l.TYPE_HARD:
            raise UserError(f"{where}: is a link, which may lead to other files; copy the data in")
        return group[name]


def check_whole(dataset: h5py.Dataset, where: str) -> None:
    """Raises: UserError: the numbers lie in other files, or in chunks of more than MAX_BYTES."""
    with reading(where):
        if dataset.is_virtual or dataset.external:
            raise UserError(f"{where}: its numbers lie in other files; copy them into this one")
        _check_size(math.prod(dataset.chunks or ()) * dataset.dtype.itemsize, where)


def read(dataset: h5py.Dataset, start: int, stop: int, where: str) -> Shaped[np.ndarray, "n ..."]:
    """Rows start to stop of a dataset that `check_whole` let pass.

    Raises:
      UserError: damage, or more than MAX_BYTES.
    """
    _check_size((stop - start) * math.prod(dataset.shape[1:]) * dataset.dtype.itemsize, where)
    with reading(where):
        return dataset[start:stop]


def _check_size(size: int, where: str) -> None:
    if size > MAX_BYTES:
        raise UserError(f"{where}: {size} bytes at once; at most {MAX_BYTES} are read")


def attributes(group: h5py.Group, where: str) -> dict[str, object]:
    """All of a group's attributes; see `attribute`."""
    with reading(where):
        return {name: attribute(group, name, where) for name in sorted(group.attrs)}


def attribute(group: h5py.Group, name: str, where: str) -> object:
    """An attribute as str, number, list of those, or None where there is none.

    Raises:
      UserError: damage, or more than MAX_ATTRIBUTE bytes.
    """
    with reading(f"{where}: attribute {name}"):
        if name not in group.attrs:
            return None
        size = group.attrs.get_id(name).get_storage_size()
        if size > MAX_ATTRIBUTE:
            raise UserError(f"{where}: attribute {name}: {size} bytes; at most {MAX_ATTRIBUTE}")
        return _plain(group.attrs[name])


def _plain(value: object) -> object:
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
