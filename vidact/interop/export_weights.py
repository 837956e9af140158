"""Writes weights back under the names that the reference code gives them.

Examples:
  python -m vidact.interop.export_weights --from weights/stdit3 --to stdit3 --check
  python -m vidact.interop.export_weights --from runs/covar --to stdit3

--from is a folder that `vidact.interop.import_weights` wrote, or the work directory of a trained
CoVAR, whose video branch is written under STDiT3's own names, in float32, LoRA factors folded into
their kernels. --check compares every tensor with the checksum that was taken at import and prints
`tensors equal: 973/973`; where one differs, nothing is written and the exit code is 1. A trained
model has nothing to compare with.
"""

import pathlib
import sys
from typing import cast

from flax import nnx
from tqdm import tqdm

from vidact import command, store
from vidact.errors import UserError
from vidact.interop import keys, names
from vidact.interop.import_weights import checksum, whole_folder
from vidact.interop.networks import KINDS
from vidact.nn import flat, lora


def main(arguments: list[str]) -> None:
    """Parses the command line and writes.

    Raises:
      UserError: the source does not do, or the target exists.
    """
    parser = command.parser(__doc__, "python -m vidact.interop.export_weights")
    parser.add_argument("--from", dest="source", required=True, help="imported weights, or a run")
    parser.add_argument("--to", required=True, help="the folder to write")
    parser.add_argument("--step", type=int, help="checkpoint of a run; by default the newest")
    parser.add_argument("--check", action="store_true", help="compare with the imported tensors")
    options = parser.parse_args(arguments)
    source = pathlib.Path(options.source)
    imported = (source / store.DESCRIPTION).is_file()
    if options.check and not imported:
        raise UserError(f"{source}: was not imported, there is nothing to check; leave out --check")
    with whole_folder(options.to) as folder:
        if not imported:
            count = export_run(source, options.step, folder)
        else:
            equal, count = export_imported(source, folder)
            if options.check:
                print(f"tensors equal: {equal}/{count}")
                if equal != count:
                    sys.exit(1)
    print(f"exported {count} tensors to {options.to}")


def export_imported(source: pathlib.Path, folder: pathlib.Path) -> tuple[int, int]:
    """Writes an imported network; returns how many tensors equal the original, and their number.

    Raises:
      UserError: the folder is damaged.
    """
    told = store.read_description(source)
    if told["network"] not in KINDS:
        raise UserError(f"{source}: holds {told['network']!r}, which this vidact does not know")
    network = KINDS[told["network"]].build(told["sizes"])
    places = {place.name: place for place in network.places}
    equal, writer = 0, store.Writer(folder)
    with store.reader(source) as found:
        store.check_names(found.shapes, network.shapes)
        for name, entry in tqdm(told["tensors"].items(), desc="exporting", unit="tensor"):
            place = places[entry["as"]]
            index = ... if place.layer is None else place.layer
            tensor = place.to_torch(found.part(place.path, index))
            equal += checksum(tensor) == entry["sha256"]
            writer.add(name, tensor)
    writer.close()
    return equal, len(told["tensors"])


def export_run(workdir: pathlib.Path, step: int | None, folder: pathlib.Path) -> int:
    """Writes the video branch of a trained CoVAR; returns the number of tensors.

    Raises:
      UserError: the run or its checkpoint does not do, or its family is another.
    """
    from vidact.training import runs

    family = runs.read_config(workdir).model.family
    if family != "covar":
        raise UserError(
            f"config.model.family={family!r}: {workdir} has no video branch of STDiT3's form; give "
            "a CoVAR's"
        )
    run = runs.load(workdir, step)
    whole = lora.merged(flat.parameters(cast(nnx.Module, run.model)), run.config.model.lora_alpha)
    branch = {k: v for k, v in whole.items() if k.startswith("video/") or k == "y_embedding"}
    layout = keys.stdit3(run.config.model.patch)
    places = names.places(layout, {path: value.shape for path, value in branch.items()})
    writer = store.Writer(folder)
    for place in tqdm(places, desc="exporting", unit="tensor"):
        writer.add(place.name, place.to_torch(place.part(branch[place.path])))
    writer.close()
    return len(places)


if __name__ == "__main__":
    command.run(main)
