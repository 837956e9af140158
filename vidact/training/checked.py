"""What is compiled for a pod that is not there: a program, its arguments' shapes and its work."""

import dataclasses
from typing import Any

import ml_collections
from jax.sharding import Mesh

from vidact.training import checks, example, flops, program, sharding


@dataclasses.dataclass(frozen=True)
class Checked:
    """A program to compile.

    Attributes:
      name: of the program.
      settings: a few words for the table.
      mesh: its devices.
      batch: samples of all chips.
      jitted: the program, and `arguments` those it is lowered with, shapes and static ones.
      parameters: those of the arguments that are parameters; `optimizer` likewise, or None.
      work: its FLOPs over all chips.
      replicated: share of the parameters' bytes that each chip holds whole, where they are split.
    """

    name: str
    settings: str
    mesh: Mesh
    batch: int
    jitted: Any
    arguments: tuple
    parameters: Any
    work: flops.Work
    optimizer: Any = None
    replicated: float | None = None


def training_step(config: ml_collections.ConfigDict, devices: Any, pixels: bool = False) -> Checked:
    """The step that training runs, of `program.build`.

    Args:
      config: the whole configuration.
      devices: of the pod.
      pixels: as for `example.from_stored`.

    Raises:
      UserError: the configuration, or the mesh on that pod, is wrong.
    """
    checks.check_sizes(config)
    mesh = sharding.make_mesh(config.mesh, devices)
    sharding.check_batch(config.train.batch_size, mesh, config.train.microbatches)
    built = program.build(config, mesh)
    batch, codec = example.batch(config, pixels).as_dict(), example.codec(config, pixels)
    given = built.arguments(batch, codec)
    state = given[0]
    return Checked(
        name="training step from pixels" if "video" in batch else "training step",
        settings=f"microbatches: {config.train.microbatches}, remat: {config.model.remat}, "
        f"optimizer: {config.optimizer.kind}",
        mesh=mesh,
        batch=config.train.batch_size,
        jitted=built.update,
        arguments=given,
        parameters=(state.params, state.frozen, state.ema, given[2]),
        work=flops.training_step(config, pixels),
        optimizer=state.opt_state,
        replicated=sharding.replicated(built.blueprint.shapes, built.shardings),
    )
