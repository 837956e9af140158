"""The page of a data set: one HTML file that asks for nothing from outside."""

import pathlib
from collections.abc import Mapping
from typing import Any

import jinja2
import numpy as np
import tqdm
from markupsafe import Markup

from data_pipelines.inspect import cards, charts, features
from data_pipelines.inspect.cards import number, short
from data_pipelines.inspect.gather import Gathered, gather
from data_pipelines.inspect.strips import spread
from data_pipelines.subject import Subject
from vidact import whole

TEMPLATE = pathlib.Path(__file__).with_name("page.html.jinja")
MAX_LINES = 20  # of instructions, and of bad episodes


def write(subject: Subject, out: pathlib.Path, episodes: int) -> pathlib.Path:
    """Writes the page, whole or not at all.

    Args:
      subject: what it is of; all its numbers are read.
      out: the file.
      episodes: at most so many are shown, spread evenly.

    Returns:
      The file.
    """
    text = render(subject, episodes)
    whole.write(out, text)
    return out


def render(subject: Subject, episodes: int) -> str:
    """The page's HTML; see `write`."""
    found = gather(subject)
    chosen = spread(len(subject.source), episodes)
    return _template().render(
        title=subject.source.name,
        facts=_facts(subject, found),
        notes=features.notes(subject),
        features=features.lines(subject, chosen),
        bad=list(found.bad.items())[:MAX_LINES],
        more_bad=max(len(found.bad) - MAX_LINES, 0),
        lengths=_lengths(found.lengths),
        statistics=_statistics(subject, found),
        instructions=_instructions(found),
        cards=[
            cards.card(subject, index, found.statistics)
            for index in tqdm.tqdm(chosen, "drawing", unit="episode", delay=5)
        ],
    )


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))


def _facts(subject: Subject, found: Gathered) -> list[tuple[str, str]]:
    """What stands at the head of the page: name and value."""
    steps, rate = int(found.lengths.sum()), subject.rate
    told = [
        ("episodes", f"{len(subject.source):,}"),
        ("… that cannot be read", f"{len(found.bad):,}"),
        ("steps", f"{steps:,}"),
        ("rate", "not stated" if rate is None else f"{rate:g} steps a second"),
    ]
    if rate is not None:
        told.append(("duration", _duration(steps / rate)))
    for name, path in subject.view.cameras.items():
        if path:
            told.append((f"camera {name}", features.size(subject.source.features[path])))
    told.append(("action", f"{len(subject.names['action'])} columns"))
    told.append(("state", f"{len(subject.names['state'])} columns"))
    if subject.row:
        told += [("row of the registry", subject.row.name), ("robot", subject.row.robot)]
    return told


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:,.1f} h"


def _lengths(lengths: np.ndarray) -> dict[str, Any] | None:
    if not len(lengths):
        return None
    least, middle, most = (f"{np.quantile(lengths, q):g}" for q in (0, 0.5, 1))
    label = f"number of episodes by length, {least} to {most} steps"
    # One bar would say no more than the numbers do.
    chart = Markup(charts.histogram(lengths, label)) if np.ptp(lengths) else None
    mean, short_ones = f"{lengths.mean():.1f}", int((lengths <= 1).sum())
    return dict(least=least, median=middle, most=most, mean=mean, short=short_ones, chart=chart)


def _statistics(subject: Subject, found: Gathered) -> Mapping[str, list[list[str]]]:
    """'action' and 'state' -> a line per column: name, q01 ... max, share at the extremes."""
    tables = {}
    for key, statistics in found.statistics.items():
        fields = [getattr(statistics, name) for name in ("q01", "q99", "mean", "std", "min", "max")]
        tables[key] = [
            [name, *(number(float(field[i])) for field in fields), f"{found.extremes[key][i]:.1%}"]
            for i, name in enumerate(subject.names[key])
        ]
    return tables


def _instructions(found: Gathered) -> dict[str, Any]:
    counts = found.instructions
    total = max(sum(counts.values()), 1)
    texts = {text: count for text, count in counts.items() if text}
    common = sorted(texts.items(), key=lambda item: (-item[1], item[0]))
    return dict(
        different=len(texts),
        empty=counts[""],
        empty_share=f"{counts[''] / total:.1%}",
        common=[(short(text), count) for text, count in common[:MAX_LINES]],
        more=max(len(texts) - MAX_LINES, 0),
    )
