"""What a compiled program says of itself; kept in a folder, it need not be compiled twice."""

import dataclasses
import gzip
import hashlib
import importlib.metadata
import json
import pathlib
import time
import zlib
from collections.abc import Mapping
from typing import Any

import jax

from vidact import whole
from vidact.errors import UserError
from vidact.training import program

COMPILER = ("jax", "jaxlib", "libtpu")


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A compiled program as far as it is read.

    Attributes:
      text: its HLO.
      memory: bytes that it takes on a chip, arguments, results, temporaries and code.
      seconds: that compiling it took.
    """

    text: str
    memory: int
    seconds: float


def compiled(
    lowered: jax.stages.Lowered,
    topology: str,
    options: Mapping[str, Any],
    keep: pathlib.Path | None = None,
) -> Compiled:
    """Compiles a program, or takes what was kept of the same program.

    The same is what has the same StableHLO, topology, options and compiler: whatever only reads
    the result may change in between.

    Args:
      lowered: the program.
      topology: what it is lowered for; StableHLO does not say.
      options: of the compiler, beside those of `program`.
      keep: a folder, where a program takes about 1 MB; None keeps nothing.

    Raises:
      jax.errors.JaxRuntimeError: the compiler's.
      UserError: what was kept is damaged.
    """
    if keep is None:
        return _compile(lowered, options)
    path = keep / f"{_key(lowered, topology, options)}.json.gz"
    if path.is_file():
        return _read(path)
    found = _compile(lowered, options)
    text = json.dumps(dataclasses.asdict(found))
    whole.write(path, gzip.compress(text.encode()), shared=True)
    return found


def _read(path: pathlib.Path) -> Compiled:
    try:
        return Compiled(**json.loads(gzip.decompress(path.read_bytes())))
    except (OSError, EOFError, zlib.error, ValueError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}); remove it, to compile anew") from error


def _compile(lowered: jax.stages.Lowered, options: Mapping[str, Any]) -> Compiled:
    started = time.perf_counter()
    made = lowered.compile(compiler_options=dict(options) or None)
    seconds = time.perf_counter() - started
    memory, text = made.memory_analysis(), made.as_text()
    assert memory is not None and text is not None, "libtpu tells both"
    # The runtime sets apart all temporaries at once; a donated result lies in its argument.
    results = memory.output_size_in_bytes - memory.alias_size_in_bytes
    total = memory.argument_size_in_bytes + results + memory.temp_size_in_bytes
    return Compiled(text, total + memory.generated_code_size_in_bytes, seconds)


def _key(lowered: jax.stages.Lowered, topology: str, options: Mapping[str, Any]) -> str:
    versions = [importlib.metadata.version(name) for name in COMPILER]
    settings = repr((topology, sorted(options.items()), program.TPU_OPTIONS, versions))
    return hashlib.sha256((settings + lowered.as_text()).encode()).hexdigest()[:24]
