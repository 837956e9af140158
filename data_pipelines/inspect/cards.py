"""What the page shows of one episode: film strips, instruction, action curves."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from data_pipelines.episode import Episode
from data_pipelines.inspect import charts, strips
from data_pipelines.inspect.strips import Strip
from data_pipelines.subject import Subject
from vidact.actions import Statistics
from vidact.errors import UserError

MAX_CURVES = 32
MAX_TEXT = 300


@dataclasses.dataclass(frozen=True)
class Film:
    """A camera's strip, or why there is none."""

    camera: str
    strip: Strip | None
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class Curve:
    """A column of the action over an episode, and the quantiles it is drawn against."""

    name: str
    chart: Markup
    q01: str
    q99: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Card:
    """An episode; `problem` says why nothing more is known of it."""

    index: int
    problem: str = ""
    length: str = ""
    instruction: str = ""
    others: int = 0
    films: Sequence[Film] = ()
    curves: Sequence[Curve] = ()
    left_out: int = 0
    facts: str = ""


def card(subject: Subject, index: int, statistics: Mapping[str, Statistics]) -> Card:
    """What is shown of episode `index`; what cannot be read is told, not raised."""
    try:
        episode = subject.view.episode(subject.source.recording(index, subject.view.paths))
    except UserError as error:
        return Card(index=index, problem=str(error))
    if not len(episode):
        return Card(index=index, problem=f"{episode.name}: no step is left of it")
    names = subject.names["action"]
    return Card(
        index=index,
        length=_length(len(episode), subject.rate),
        instruction=short(episode.instructions[0]),
        others=len(set(episode.instructions)) - 1,
        films=[_film(episode, camera) for camera in episode.cameras],
        curves=_curves(episode, names[:MAX_CURVES], statistics["action"]),
        left_out=max(len(names) - MAX_CURVES, 0),
        facts=_facts(episode.metadata),
    )


def short(text: str) -> str:
    """A text, or as much of it as a page can show."""
    text = " ".join(text.split())
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"


def number(value: float) -> str:
    """Four digits."""
    return f"{value:.4g}"


def _length(steps: int, rate: float | None) -> str:
    told = f"{steps} step{'s' * (steps != 1)}"
    return told if rate is None else f"{told}, {steps / rate:.1f} s"


def _film(episode: Episode, camera: str) -> Film:
    frames = episode.cameras[camera]
    if frames is None:
        return Film(camera, None, "the data set has no such camera")
    try:
        return Film(camera, strips.strip(frames))
    except (UserError, ValueError) as error:
        return Film(camera, None, f"{error}")


def _curves(episode: Episode, names: Sequence[str], statistics: Statistics) -> list[Curve]:
    found = []
    for i, name in enumerate(names):
        q01, q99 = float(statistics.q01[i]), float(statistics.q99[i])
        label = f"{name} over the steps, from q01 {number(q01)} to q99 {number(q99)} shaded"
        chart = charts.curve(episode.actions[:, i].astype(np.float64), q01, q99, label)
        found.append(Curve(name, Markup(chart), number(q01), number(q99)))
    return found


def _facts(metadata: Mapping[str, object]) -> str:
    """The episode's own short facts; arrays are left out."""
    told = [f"{k}: {v}" for k, v in metadata.items() if not isinstance(v, np.ndarray | list)]
    return short(", ".join(told))
