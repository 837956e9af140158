"""What a data set says of its features, what they are used for, and what is missing."""

from collections.abc import Sequence
from typing import NamedTuple

from data_pipelines.oxe import columns
from data_pipelines.oxe.row import Row
from data_pipelines.sources.checks import NoSteps
from data_pipelines.sources.recording import Feature
from data_pipelines.subject import Arrays, Subject
from vidact.errors import UserError


class Line(NamedTuple):
    """A feature in words; `problem` is "" where there is none."""

    path: str
    kind: str
    shape: str
    use: str
    problem: str


def lines(subject: Subject, looked_at: Sequence[int]) -> list[Line]:
    """All features; each is read from the episodes that are looked at."""
    absent = _absent(subject, looked_at)
    return [
        Line(path, feature.kind, _shape(feature), _use(subject, path), _problem(feature, problems))
        for path, feature in subject.source.features.items()
        for problems in [absent.get(path, "")]
    ]


def notes(subject: Subject) -> list[str]:
    """What a training would miss, one sentence each."""
    view, found = subject.view, subject.source.features
    told = []
    if not any(view.cameras.values()):
        told.append("no camera: no feature is an image")
    if isinstance(view, Arrays):
        arrays = [path for path, feature in found.items() if feature.kind == "array"]
        texts = [path for path, feature in found.items() if feature.kind == "text"]
        told += [_none("action", "--action", arrays)] * (not view.action)
        told += [_none("state", "--state", arrays)] * (not view.state)
        told += [_none("instruction", "--instruction", texts)] * (not view.instruction)
    if subject.rate is None:
        told.append("no rate: the data set does not say how many steps a second has")
    return told


def size(feature: Feature) -> str:
    """Height and width of an image."""
    known = feature.shape[:2]
    return "varies" if None in known or not known else f"{known[0]}×{known[1]}"


def _none(what: str, option: str, fits: Sequence[str]) -> str:
    if not fits:
        return f"no {what}: no feature could be one"
    return f"no {what}: none goes by that name; choose with {option} among {', '.join(fits)}"


def _shape(feature: Feature) -> str:
    if feature.kind == "text":
        return ""
    return "×".join("any" if n is None else str(n) for n in feature.shape) or "1 number"


def _use(subject: Subject, path: str) -> str:
    view = subject.view
    names = [name for name, camera in view.cameras.items() if camera == path]
    if names:
        return "camera" if names == [path] else f"camera {names[0]}"
    if isinstance(view, Arrays):
        roles = {"action": view.action, "state": view.state, "instruction": [view.instruction]}
    else:
        assert subject.row is not None
        roles = _roles(subject.row)
    return ", ".join(role for role, paths in roles.items() if path in paths)


def _roles(row: Row) -> dict[str, Sequence[str]]:
    gripper = row.gripper.columns if row.gripper else ""
    return {
        "action": columns.paths(f"{row.motion.columns} {gripper}"),
        "state": columns.paths(row.state.columns),
        "instruction": (row.text,),
    }


def _absent(subject: Subject, looked_at: Sequence[int]) -> dict[str, str]:
    """Feature -> in how many episodes it cannot be read, and why at first."""
    reasons: dict[str, list[str]] = {}
    for index in looked_at:
        if _problem_of(subject, index, subject.readable) is None:
            continue
        for path in subject.readable:
            reason = _problem_of(subject, index, [path])
            if reason is not None:
                reasons.setdefault(path, []).append(reason)
    return {
        path: f"not readable in {len(found)} of the {len(looked_at)} episodes below: {found[0]}"
        for path, found in reasons.items()
    }


def _problem_of(subject: Subject, index: int, paths: Sequence[str]) -> str | None:
    try:
        subject.source.recording(index, paths)
    except NoSteps:
        return None
    except UserError as error:
        return str(error)
    return None


def _problem(feature: Feature, absent: str) -> str:
    return "of a kind that is not read" if feature.kind == "other" else absent
