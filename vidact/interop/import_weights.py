"""Turns published weights into a folder that vidact trains from.

Examples:
  python -m vidact.interop.import_weights --from opensora-stdit3 STDiT-v3 --to weights/stdit3
  python -m vidact.interop.import_weights --from opensora-vae OpenSora-VAE-v1.2 --to weights/vae
  python -m vidact.interop.import_weights --from t5 t5-v1_1-xxl --to weights/t5

PATH is a .safetensors file, an index of several, or a folder with either; t5, clip and sd-vae need
the config.json beside it. Every tensor must have its place: missing, unexpected and misshapen names
are listed and nothing is written. One parameter at a time is in memory.

The folder holds safetensors under vidact's own paths, and network.json: the network's sizes, and
name, dtype and checksum of every tensor, from which `vidact.interop.export_weights --check` proves
that nothing was lost.
"""

import contextlib
import hashlib
import json
import pathlib
import shutil
from collections.abc import Iterable, Iterator

import numpy as np
from tqdm import tqdm

from vidact import command, store
from vidact.errors import UserError
from vidact.interop import names
from vidact.interop.networks import KINDS, Kind

DTYPES = ("float32", "float16", "bfloat16")


def main(arguments: list[str]) -> None:
    """Parses the command line and converts.

    Raises:
      UserError: the weights are not the network's, or the target exists.
    """
    parser = command.parser(__doc__, "python -m vidact.interop.import_weights")
    parser.add_argument("--from", dest="network", required=True, choices=sorted(KINDS))
    parser.add_argument("path", help="a .safetensors file, an index, or a folder")
    parser.add_argument("--to", required=True, help="the folder to write")
    options = parser.parse_args(arguments)
    with store.reader(options.path) as found, whole_folder(options.to) as folder:
        count = convert(found, pathlib.Path(options.path), options.network, folder)
    print(f"imported {count} tensors to {options.to}")


def convert(found: store.Reader, path: pathlib.Path, kind: str, folder: pathlib.Path) -> int:
    """Writes weights under JAX paths, and `network.json`; returns the number of tensors read.

    Args:
      found: the published tensors.
      path: where they lie.
      kind: its name in `KINDS`.
      folder: exists, empty.

    Raises:
      UserError: a name is missing, unexpected or misshapen, or no floating-point tensor.
    """
    named = called(found.shapes, KINDS[kind])
    shapes = {name: found.shapes[copies[0]] for name, copies in named.items()}
    sizes = KINDS[kind].sizes(shapes, path if path.is_dir() else path.parent)
    network = KINDS[kind].build(sizes)
    store.check_names(shapes, {place.name: place.shape for place in network.places})
    copies = [copy for each in named.values() for copy in each]
    store.check_dtypes({copy: found.dtypes[copy] for copy in copies}, DTYPES)
    by_path: dict[str, list[names.Place]] = {}
    for place in network.places:
        by_path.setdefault(place.path, []).append(place)
    writer, tensors = store.Writer(folder), {}
    for jax_path, parts in tqdm(by_path.items(), desc="importing", unit="parameter"):
        arrays = []
        for place in parts:
            array, told = read(found, place.name, named[place.name])
            tensors |= told
            arrays.append(place.to_jax(array))
        writer.add(jax_path, np.stack(arrays) if parts[0].layer is not None else arrays[0])
    writer.close()
    description = {"network": kind, "sizes": sizes, "tensors": tensors}
    (folder / store.DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n")
    return len(copies)


def called(found: Iterable[str], kind: Kind) -> dict[str, list[str]]:
    """The layout's names, and under which one or more names the file has each."""
    copies: dict[str, list[str]] = {}
    for name in found:
        if (new := kind.rename(name)) is not None:
            copies.setdefault(new, []).append(name)
    return copies


def read(
    found: store.Reader, name: str, copies: list[str]
) -> tuple[np.ndarray, dict[str, dict[str, str]]]:
    """A tensor, and what `network.json` says of each name that it has in the file.

    Raises:
      UserError: copies of it differ.
    """
    arrays = [found.get(copy) for copy in copies]
    sums = {checksum(array) for array in arrays}
    if len(sums) > 1:
        raise UserError(f"weights: {' and '.join(copies)} differ; take the file of one model")
    told = {"as": name, "dtype": found.dtypes[copies[0]], "sha256": sums.pop()}
    return arrays[0], dict.fromkeys(copies, told)


def checksum(array: np.ndarray) -> str:
    """SHA-256 of a tensor's bytes, last axis fastest."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


@contextlib.contextmanager
def whole_folder(target: str | pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder that appears at `target` when the block ends well, and not at all otherwise.

    Raises:
      UserError: the target exists, or cannot be written.
    """
    target = pathlib.Path(target).absolute()
    if target.exists():
        raise UserError(f"{target}: exists; choose another --to")
    command.check_writable(target.parent)
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


if __name__ == "__main__":
    command.run(main)
