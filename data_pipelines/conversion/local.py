"""A whole conversion in this process, without Beam: for small data sets that a program makes."""

from etils import epath

from data_pipelines.conversion.finish import Result, finish, verify_shard
from data_pipelines.conversion.plan import Plan, keep_plan
from data_pipelines.conversion.shard import write_shard
from data_pipelines.sources.opening import open_source
from vidact.errors import UserError


def convert(plan: Plan, out: epath.Path) -> Result:
    """Writes, verifies and describes all shards that `plan` asks for.

    Raises:
      UserError: as `python -m data_pipelines.convert`.
    """
    keep_plan(plan, out)
    source = open_source(plan.source, plan.split)
    for number in range(plan.shards):
        write_shard(plan, source, out, number)
        wrong = verify_shard(plan, out, number)
        if wrong:
            raise UserError(wrong)
    return finish(plan, out)
