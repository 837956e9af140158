"""Prints what is known of the data sets of Open X-Embodiment.

Examples:
  python -m data_pipelines.oxe
  python -m data_pipelines.oxe bridge_dataset
  python -m data_pipelines.oxe kuka droid

Without a name: the table of all data sets, one a line. With names: each in words, the features that
it takes, what is done to them, the mixtures that it is in, and the action's quantiles where someone
published them. No data are read.
"""

from data_pipelines.oxe import published, registry
from data_pipelines.oxe.mixtures import MIXTURES
from data_pipelines.oxe.oddities import decode_text
from data_pipelines.oxe.row import Fix, Row, fix_name
from vidact import command

HEADER = ("name", "cameras", "action", "Hz", "gripper as stored", "oddities", "note")


def main(arguments: list[str]) -> None:
    """Prints the table or the named rows.

    Raises:
      UserError: no such data set.
    """
    parser = command.parser(__doc__, "python -m data_pipelines.oxe")
    parser.add_argument("names", nargs="*", metavar="NAME", help="a data set, as the table has it")
    rows = [registry.find(name) for name in parser.parse_args(arguments).names]
    command.show("\n\n".join(map(describe, rows)) if rows else table())


def table() -> str:
    """All rows in aligned columns; the note comes last, as long as it is."""
    lines = [HEADER, *map(_cells, registry.TABLE)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    padded = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths)) for line in lines]
    return "\n".join(line.rstrip() for line in padded)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.name,
        " ".join(kind for kind, path in row.cameras._asdict().items() if path),
        f"{row.motion.encoding} {row.action_width}",
        "?" if row.hz is None else f"{row.hz:g}",
        row.gripper.stored if row.gripper else "within the action",
        ", ".join(row.fixes) or "-",
        row.note or "-",
    )


def describe(row: Row) -> str:
    """One row in words, a few lines."""
    cameras = ", ".join(f"{kind} {path}" for kind, path in row.cameras._asdict().items() if path)
    lines = [
        f"{row.name}: {row.robot}, {_rate(row)}",
        f"  cameras: {cameras}",
        f"  motion ({row.motion.encoding}): {row.motion.columns}",
        *_explained([row.motion.fix] if row.motion.fix else []),
        *_gripper(row),
        f"  state ({row.state.encoding}): {row.state.columns}",
        *[f"    {path} may be compressed with zlib" for path in row.compressed],
        f"  instruction: {row.text}{', which octo blanks' * row.uninformative}",
        *_explained([row.decode] if row.decode is not decode_text else []),
        *_dropped(row),
        f"  in mixtures: {_mixtures(row)}",
        *_published(row),
    ]
    return "\n".join([*lines, f"  note: {row.note}"] if row.note else lines)


def _rate(row: Row) -> str:
    stored = "at an unknown rate" if row.hz is None else f"{row.hz:g} Hz"
    return stored if row.every == 1 else f"{stored}, one step in {row.every} kept"


def _gripper(row: Row) -> list[str]:
    if not row.gripper:
        return ["  gripper: within the motion"]
    head = f"  gripper ({row.gripper.stored}): {row.gripper.columns}"
    return [head, *_explained(row.gripper.fixes)]


def _dropped(row: Row) -> list[str]:
    if not row.drop_first and not row.drop_last:
        return []
    return [f"  steps left out: {row.drop_first} at the start, {row.drop_last} at the end"]


def _explained(fixes) -> list[str]:
    return [f"    {fix_name(fix)}: {_summary(fix)}" for fix in fixes]


def _summary(fix: Fix) -> str:
    """The first sentence of its docstring."""
    return " ".join((getattr(fix, "func", fix).__doc__ or "").split("\n\n")[0].split())


def _mixtures(row: Row) -> str:
    weights = {name: mixture.weights.get(row.name) for name, mixture in MIXTURES.items()}
    return ", ".join(f"{name} {weight:g}" for name, weight in weights.items() if weight) or "none"


def _published(row: Row) -> list[str]:
    found = published.find(row.name)
    if found is None:
        return []
    action = found["action"]
    columns = [f"{low:.4g} to {high:.4g}" for low, high in zip(action.q01, action.q99)]
    head = f"  published of {action.count} steps, 1 % to 99 % of each column of the action:"
    return [head, f"    {', '.join(columns)}"]


if __name__ == "__main__":
    command.run(main)
