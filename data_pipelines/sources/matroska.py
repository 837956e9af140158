"""Where a Matroska or WebM file says that it ends; FFmpeg reads a truncated one without a word.

A file is two elements, a header and a segment. Each has an identifier, the size of its content and
the content; the leading zero bits of a number's first byte tell its length (RFC 8794).
"""

from typing import BinaryIO

from etils import epath

from vidact.errors import UserError

_LONGEST = 8  # bytes of a number


def stated_size(path: epath.Path) -> int | None:
    """Size in bytes that the file states for itself; None where it was written without knowing.

    Raises:
      UserError: it does not begin so.
    """
    with path.open("rb") as file:
        try:
            _number(file)
            size, _ = _number(file)
            file.seek(size, 1)
            _number(file)
            size, unknown = _number(file)
        except ValueError as error:
            raise UserError(f"{path}: no Matroska file; copy or download it again") from error
        return None if unknown else file.tell() + size


def _number(file: BinaryIO) -> tuple[int, bool]:
    """The next number, and whether it is the one that means unknown."""
    first = file.read(1)
    length = 9 - first[0].bit_length() if first else _LONGEST + 1
    rest = file.read(length - 1)
    if length > _LONGEST or len(rest) < length - 1:
        raise ValueError("no number")
    mask = (1 << 7 * length) - 1  # without the bits that tell the length
    value = int.from_bytes(first + rest, "big") & mask
    return value, value == mask
