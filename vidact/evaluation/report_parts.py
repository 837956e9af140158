"""From a work directory's files to what the report's template shows."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
import numpy as np
from markupsafe import Markup

from vidact.evaluation import charts
from vidact.evaluation.charts import Series
from vidact.evaluation.files import SAMPLES, read_json
from vidact.processes.joint_time import MODES

EXPLAINED = {
    "joint": "Video and actions are both generated from noise.",
    "policy": "Actions are generated while the future video stays unknown: how the robot acts.",
    "video": "Video is generated while the actions stay unknown.",
    "forward": "Forward dynamics: video is generated for the recorded actions.",
    "inverse": "Inverse dynamics: actions are generated for the recorded video.",
}
LOSSES = (
    ("loss", "total", "total"),
    ("loss/video", "video", "video"),
    ("loss/action", "action", "action"),
    ("held out loss/video", "video, held out", "video dashed"),
    ("held out loss/action", "action, held out", "action dashed"),
)

Json = Mapping[str, Any]


def read_samples(workdir: pathlib.Path) -> dict[str, Json]:
    """Mode -> what `vidact.sample` wrote about it, for the modes that were sampled."""
    found = {mode: read_json(workdir / SAMPLES / f"{mode}.json") for mode in MODES}
    return {mode: facts for mode, facts in found.items() if facts is not None}


def facts(
    config: ml_collections.ConfigDict,
    rows: Sequence[Json],
    evaluation: Json | None,
    samples: Mapping[str, Json],
) -> list[tuple[str, str]]:
    """What stands at the head of the report: name and value."""
    data = config.data
    height, width = data.resolution
    measured = next((m for m in (evaluation, *samples.values()) if m), None)
    found = [
        ("data set", measured["data_set"] if measured else data.root),
        ("window", f"{data.frames} frames of {height}×{width} at {data.fps:g} Hz"),
        ("model", f"{config.model.family}, {config.model.depth} layers"),
        ("trained", f"{rows[-1]['step']} of {config.train.steps} steps" if rows else "-"),
    ]
    if measured:
        found.append(("parameters", f"{measured['parameters'] / 1e6:.2f} M"))
    if evaluation:
        found.append(("evaluated", f"step {evaluation['step']}"))
        found.append(("codec PSNR", decibels(evaluation["held_out"]["codec_psnr_db"])))
        found.append(("PSNR gain", decibels(evaluation["held_out"]["psnr_gain_db"])))
        found.append(("… moving pixels", decibels(evaluation["held_out"]["moving_psnr_gain_db"])))
        if evaluation["tasks"]:
            found.append(("mean success", f"{evaluation['mean_success']:.0%}"))
    return found


def modes(samples: Mapping[str, Json]) -> list[dict[str, Any]]:
    """One entry per sampled mode: its facts, and its windows with loops and curves."""
    return [
        {
            **facts,
            "explained": EXPLAINED[mode],
            "windows": [{**w, "curves": c} for w, c in zip(facts["windows"], _curves(facts))],
        }
        for mode, facts in samples.items()
    ]


def losses(rows: Sequence[Json]) -> Markup | None:
    """The chart of the losses, or None where nothing was logged."""
    series = []
    for key, name, style in LOSSES:
        points = [(row["step"], row[key]) for row in rows if key in row]
        if points:
            x, y = np.array(points, float).T
            series.append(Series(name, style, x, y))
    if not series:
        return None
    return Markup(charts.line_chart(series, label="Losses over training steps", log=True))


def timings(
    rows: Sequence[Json],
    evaluation: Json | None,
    samples: Mapping[str, Json],
    others: Json | None,
) -> list[tuple[str, str]]:
    """What took how long: name and time."""
    found = [(name, clock(seconds)) for name, seconds in (others or {}).items()]
    timed = [(row["step"], row["seconds"]) for row in rows if "seconds" in row]
    if timed:
        steps, seconds = np.array(timed, float).T
        found.append(("training step", f"{np.median(seconds):.3f} s"))
        found.append(("training", clock(float(np.diff(steps, prepend=0) @ seconds))))
    for mode, facts in samples.items():
        count, steps = len(facts["windows"]), facts["sample_steps"]
        name = f"sampling {count} windows, {mode}, {steps} steps, with compiling"
        found.append((name, clock(facts["seconds"])))
    for task in (evaluation or {}).get("tasks", ()):
        parts = ", ".join(f"{name} {clock(s)}" for name, s in task["seconds"].items())
        found.append((f"{task['rollouts']} rollouts of {task['task']}", parts))
    if evaluation:
        found.append(("evaluation in all", clock(evaluation["seconds"]["all"])))
    return found


def clock(seconds: float) -> str:
    """Seconds as people say them."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def decibels(value: float | None) -> str:
    """A value in dB; JSON's null stands for one that is not finite."""
    return "-" if value is None else f"{value:.2f} dB"


def _curves(facts: Json) -> list[list[Markup]]:
    """Per window one small chart per action dimension, each dimension on one scale throughout."""
    windows = facts["windows"]
    if "actions" not in windows[0]:
        return [[] for _ in windows]
    truth, generated = (np.array([w[k] for w in windows]) for k in ("true_actions", "actions"))
    both = np.concatenate([truth, generated], axis=1)
    low, high = both.min((0, 1)), both.max((0, 1))
    steps = np.arange(truth.shape[1], dtype=float)
    return [
        [
            Markup(
                charts.sparkline(
                    [
                        Series("recorded", "true", steps, truth[i, :, d]),
                        Series("generated", "generated", steps, generated[i, :, d]),
                    ],
                    float(low[d]),
                    float(high[d]),
                    label=f"action dimension {d}, recorded and generated",
                    name=f"a{d}",
                )
            )
            for d in range(truth.shape[2])
        ]
        for i in range(len(windows))
    ]
