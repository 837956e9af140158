"""Compares vidact's networks with dumps of a reference implementation.

Examples:
  python -m vidact.interop.parity --reference opensora dumps/opensora
  python -m vidact.interop.parity --reference text dumps/text

A folder for opensora holds any of NAME.safetensors with NAME_config.json and NAME_io.npz, where the
configuration is STDiT3's or the video autoencoder's, NAME_grads_*.safetensors, *_parts.npz, and
scheduler_io.npz with scheduler_config.json. One for text holds any of the folders t5_encoder,
clip_text and sd_vae2d, each with config.json, params.safetensors and io.npz. Sizes, cases, lengths
and numbers of steps are what is found there.

Prints the largest absolute difference of every case and what it may be, at last
`max over tolerance: 0.31`, and exits with code 1 above 1. All is computed in float32 at the highest
precision.
"""

import pathlib
import sys
from collections.abc import Callable, Iterator

import jax

from vidact import command
from vidact.errors import UserError
from vidact.interop.parity import flow, stdit3, text, vae
from vidact.interop.parity.cases import Case

REFERENCES: dict[str, tuple[Callable[[pathlib.Path], Iterator[Case]], ...]] = {
    "opensora": (stdit3.cases, stdit3.parts, vae.cases, flow.cases),
    "text": (text.t5_cases, text.clip_cases, vae.image_cases),
}


def main(arguments: list[str]) -> None:
    """Parses the command line and prints the table.

    Raises:
      UserError: the folder is missing, holds nothing to compare, or is damaged.
    """
    parser = command.parser(__doc__, "python -m vidact.interop.parity")
    parser.add_argument("--reference", required=True, choices=sorted(REFERENCES))
    parser.add_argument("folder", help="where the dumps lie")
    options = parser.parse_args(arguments)
    folder = pathlib.Path(options.folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give one with dumps of the reference")
    worst, count = 0.0, 0
    for case in compared(options.reference, folder):
        print(f"{case.name}: {case.difference:.1e} of {case.tolerance:.0e}", flush=True)
        worst, count = max(worst, case.over), count + 1
    if not count:
        raise UserError(f"{folder}: nothing in it to compare; see --help for the files' names")
    print(f"max over tolerance: {worst:.2f}")
    if worst > 1:
        sys.exit(1)


def compared(reference: str, folder: pathlib.Path) -> Iterator[Case]:
    """All cases of a folder, at the highest precision.

    Raises:
      UserError: a dump is damaged or lacks something.
    """
    with jax.default_matmul_precision("highest"):
        for check in REFERENCES[reference]:
            try:
                yield from check(folder)
            except KeyError as error:
                raise UserError(
                    f"{folder}: {error} is missing in a dump; make it again as --help says"
                ) from error


if __name__ == "__main__":
    command.run(main)
