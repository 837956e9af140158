"""A conversion as an Apache Beam pipeline: one shard is one unit of work, wherever it runs."""

import json
from collections.abc import Iterator, Sequence

import apache_beam as beam
from apache_beam.options import pipeline_options
from etils import epath

from data_pipelines.conversion import files
from data_pipelines.conversion.finish import verify_shard
from data_pipelines.conversion.plan import Plan
from data_pipelines.conversion.shard import write_shard
from data_pipelines.sources.opening import open_source
from vidact.errors import UserError

VERIFIED = "verified.json"


class Write(beam.DoFn):
    """Writes shards, by number; those that are there are left alone."""

    def __init__(self, plan: Plan, out: str):
        self._plan, self._out = plan, out

    def setup(self) -> None:
        """Opens the source, once a worker."""
        self._source = open_source(self._plan.source, self._plan.split)

    def process(self, number: int) -> Iterator[int]:
        """Writes one; gives its number."""
        write_shard(self._plan, self._source, epath.Path(self._out), number)
        yield number


def verify(number: int, plan: Plan, out: str) -> Iterator[str]:
    """Reads a shard back; gives what is wrong with it."""
    wrong = verify_shard(plan, epath.Path(out), number)
    if wrong:
        yield wrong


def note(wrong: list[str], out: str) -> None:
    """Leaves the outcome where the program that started the pipeline finds it."""
    files.put_text(json.dumps(sorted(wrong)), epath.Path(out), VERIFIED)


def options(arguments: Sequence[str]) -> pipeline_options.PipelineOptions:
    """Beam's options from a command line.

    Raises:
      UserError: one that Beam does not know.
    """
    found = pipeline_options.PipelineOptions(list(arguments))
    known, all_given = (
        found.get_all_options(drop_default=True, retain_unknown_options=unknown)
        for unknown in (False, True)
    )
    for name in all_given.keys() - known.keys():
        raise UserError(f"--{name}: neither our option nor Apache Beam's; see --help")
    # Else the local runner may fetch a Go program from the network and run the pipeline in that.
    found.view_as(pipeline_options.TypeOptions).allow_unsafe_triggers = True
    return found


def run(plan: Plan, out: epath.Path, given: pipeline_options.PipelineOptions) -> None:
    """Writes the shards that are missing and reads all of them back.

    Raises:
      UserError: what was written is not what was read; names file and episode.
    """
    folder = str(out)
    (out / VERIFIED).unlink(missing_ok=True)
    with beam.Pipeline(options=given) as pipeline:
        (
            pipeline
            | "Shards" >> beam.Create(list(range(plan.shards)))
            | "Spread" >> beam.Reshuffle()
            | "Write" >> beam.ParDo(Write(plan, folder))
            | "Verify" >> beam.FlatMap(verify, plan, folder)
            | "Collect" >> beam.combiners.ToList()
            | "Note" >> beam.Map(note, folder)
        )
    wrong = json.loads((out / VERIFIED).read_text())
    (out / VERIFIED).unlink()
    if wrong:
        raise UserError(f"{wrong[0]} ({len(wrong)} shards of {plan.shards} are wrong)")
