"""From a command line to the data set, and the features of it, that are looked at."""

import argparse
import math
from collections.abc import Collection, Mapping, Sequence

from data_pipelines.opening import row_name
from data_pipelines.oxe import columns, registry
from data_pipelines.oxe.row import Row
from data_pipelines.oxe.view import RowView
from data_pipelines.sources.opening import open_source
from data_pipelines.sources.recording import Feature, Source
from data_pipelines.subject import Arrays, Subject
from vidact.errors import UserError

TEXTS = ("language_instruction", "task", "instruction")
STATES = ("observation/state", "observation.state", "state")
STANDARD = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that `choose` takes."""
    parser.add_argument("data_set", metavar="DIR", help="the data set's folder, or KIND:FOLDER")
    parser.add_argument("--split", default="train", help="train by default")
    parser.add_argument(
        "--registry",
        metavar="NAME",
        help="see it through this row of data_pipelines.oxe; auto: the one of its folder's name",
    )
    parser.add_argument("--action", nargs="+", metavar="KEY", help="joined in this order")
    parser.add_argument("--state", nargs="+", metavar="KEY", help="joined in this order")
    parser.add_argument("--image", nargs="+", metavar="KEY", help="all by default")
    parser.add_argument("--instruction", metavar="KEY")


def choose(options: argparse.Namespace) -> Subject:
    """Opens the data set of a command line.

    Raises:
      UserError: it cannot be opened, or lacks what is asked for.
    """
    source = open_source(options.data_set, options.split)
    if options.registry is None:
        return _by_keys(source, options)
    if any((options.action, options.state, options.image, options.instruction)):
        raise UserError("--registry says which features are what; leave the keys out")
    return _by_row(source, registry.find(row_name(options.registry, options.data_set)))


def _by_row(source: Source, row: Row) -> Subject:
    view = RowView(row, [name for name, path in row.cameras._asdict().items() if path])
    view.check(source)
    hand = row.motion.encoding.startswith(("eef", "base"))
    action = STANDARD if hand else _numbered("action", row.action_width)
    state = _numbered("state", columns.width(row.state.columns))
    return Subject(source=source, view=view, row=row, names={"action": action, "state": state})


def _by_keys(source: Source, options: argparse.Namespace) -> Subject:
    action = _given(source, "--action", options.action, "array")
    state = _given(source, "--state", options.state, "array")
    images = _given(source, "--image", options.image, "image")
    text = _given(source, "--instruction", options.instruction and [options.instruction], "text")
    found = source.features
    view = Arrays(
        cameras={path: path for path in images or _of_kind(found, "image")},
        action=action or guess_arrays(found, ("action", "actions"), "action"),
        state=state or guess_arrays(found, STATES, "state"),
        instruction=text[0] if text else _text(found),
    )
    if not view.paths:
        raise UserError(f"{source.name}: no feature that can be shown among {', '.join(found)}")
    names = {
        "action": [name for path in view.action for name in _columns(path, found[path])],
        "state": [name for path in view.state for name in _columns(path, found[path])],
    }
    return Subject(source=source, view=view, row=None, names=names)


def _given(source: Source, option: str, paths: Sequence[str] | None, kind: str) -> Sequence[str]:
    fits = _of_kind(source.features, kind)
    for path in paths or ():
        if path not in fits:
            raise UserError(
                f"{source.name}: {option} {path}: no {kind} of that name; choose from "
                f"{', '.join(fits) or 'none'}"
            )
    return tuple(dict.fromkeys(paths or ()))


def _of_kind(features: Mapping[str, Feature], kind: str) -> list[str]:
    return [path for path, feature in features.items() if feature.kind == kind]


def guess_arrays(
    features: Mapping[str, Feature], known: Collection[str], word: str
) -> Sequence[str]:
    """Paths of the arrays that go by a name.

    Args:
      features: all there are.
      known: names, the first ones first: of an array, or of a table of arrays.
      word: what the only array may have in its name where none is known.
    """
    arrays = _of_kind(features, "array")
    for name in known:
        if name in arrays:
            return (name,)
        inner = [path for path in arrays if path.startswith((f"{name}/", f"{name}."))]
        if inner:
            return inner
    named = [path for path in arrays if word in path]
    return named if len(named) == 1 else ()


def _text(features: Mapping[str, Feature]) -> str:
    texts = _of_kind(features, "text")
    for name in TEXTS:
        if name in texts:
            return name
    named = [path for path in texts if "instruction" in path or "language" in path]
    return named[0] if len(named) == 1 else ""


def _columns(path: str, feature: Feature) -> list[str]:
    width = math.prod(size or 1 for size in feature.shape)
    return [path] if not feature.shape else _numbered(path, width)


def _numbered(name: str, width: int) -> list[str]:
    return [f"{name}[{i}]" for i in range(width)]
