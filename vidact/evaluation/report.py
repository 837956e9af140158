"""The report of a run: one self-contained HTML file that asks for nothing from outside.

Examples:
  python -m vidact.evaluation.report --checkpoint runs/quickstart/run
  python -m vidact.evaluation.report --checkpoint runs/quickstart/run --out report.html

It shows what the other commands left in the work directory (metrics.jsonl of vidact.train,
samples/ of vidact.sample, evaluation.json and rollouts/ of vidact.evaluate, and timings.json of
vidact.quickstart, which maps names to seconds) and says what has not been measured yet. Figures
stand beside their checkpoint's step and data set; where these differ, the page's head says so.
"""

import argparse
import base64
import pathlib
from typing import Any

import jinja2
import markupsafe

from vidact import command, whole
from vidact.errors import UserError
from vidact.evaluation import origins, report_parts
from vidact.evaluation.files import EVALUATION, REPORT, SAMPLES, TIMINGS, read_json
from vidact.training import logs, runs

TEMPLATE = pathlib.Path(__file__).with_name("report.html.jinja")


def main(arguments: list[str]) -> None:
    """Runs the command.

    Raises:
      UserError: the work directory cannot be read, or an argument is wrong.
    """
    parser = command.parser(__doc__, "python -m vidact.evaluation.report")
    parser.add_argument("--checkpoint", required=True, type=pathlib.Path, help="work directory")
    parser.add_argument("--out", type=pathlib.Path, help=f"CHECKPOINT/{REPORT} by default")
    options: argparse.Namespace = parser.parse_args(arguments)
    print(f"wrote {write_report(options.checkpoint, options.out)}")


def write_report(
    workdir: str | pathlib.Path, out: str | pathlib.Path | None = None
) -> pathlib.Path:
    """Writes the report of a work directory, whole or not at all.

    Args:
      workdir: of a training run.
      out: the file; workdir/report.html by default.

    Returns:
      The file.

    Raises:
      UserError: no work directory, or one of its files is damaged, of another version, or names a
        picture outside of it.
    """
    workdir = pathlib.Path(workdir)
    out = workdir / REPORT if out is None else pathlib.Path(out)
    command.check_writable(out.parent)
    try:
        text = _template().render(**_context(workdir))
    except (KeyError, jinja2.UndefinedError) as error:
        raise UserError(
            f"{workdir}: its results lack {error}; run vidact.sample and vidact.evaluate again"
        ) from error
    whole.write(out, text)
    return out


def _context(workdir: pathlib.Path) -> dict[str, Any]:
    config = runs.read_config(workdir)
    rows = logs.read(workdir) if (workdir / logs.METRICS).is_file() else []
    evaluation = read_json(workdir / EVALUATION)
    samples = report_parts.read_samples(workdir)
    timings = read_json(workdir / TIMINGS)
    return {
        "title": workdir.resolve().name,
        "facts": report_parts.facts(config, rows, evaluation, samples),
        "evaluation": evaluation,
        "modes": report_parts.modes(samples),
        "losses": report_parts.losses(rows),
        "timings": report_parts.timings(rows, evaluation, samples, timings),
        "samples": SAMPLES,
        "embed": lambda name: _embed(origins.picture(workdir, name)),
        "origin": origins.origin,
        "several": origins.several(evaluation, samples),
    }


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))


def _embed(data: bytes) -> markupsafe.Markup:
    """A WebP file as a data URI."""
    return markupsafe.Markup(f"data:image/webp;base64,{base64.b64encode(data).decode()}")


if __name__ == "__main__":
    command.run(main)
