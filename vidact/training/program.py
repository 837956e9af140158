"""The jitted programs of a configuration: what makes a state, and what steps it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import ml_collections
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from vidact.inputs import SampleRequest
from vidact.models import registry
from vidact.nn import flat, placement
from vidact.training import sharding, state, step
from vidact.training.optimizer import check_scales, make_optimizer

# XLA would cut a product with a split kernel into one product per part of it, to receive the next
# part meanwhile. At our widths each is so thin that their sums move four times the memory.
TPU_OPTIONS = {"xla_jf_spmd_threshold_for_windowed_einsum_mib": 1_000_000}


@dataclasses.dataclass(frozen=True)
class Program:
    """The programs of one configuration on one mesh; nothing is compiled yet.

    Attributes:
      mesh: their devices, which may be described only (`chips.devices`).
      blueprint: of the model.
      shardings: of the parameters by path.
      layout: shardings of the state.
      create: jitted; makes a fresh state.
      step: (state, batch, codec) to (state, metrics), see `step.make_step`.
      update: jitted; `step` on the mesh. The state's memory is reused.
      evaluate: jitted; see `step.make_evaluation`.
    """

    mesh: Mesh
    blueprint: flat.Blueprint
    shardings: Mapping[str, NamedSharding]
    layout: Any
    create: Callable[[], state.TrainState]
    step: Callable
    update: Any
    evaluate: Any

    def arguments(self, batch: Mapping[str, Any], codec: Any = None) -> tuple:
        """Shapes and shardings of `update`'s arguments, to lower it without any array."""
        rows, whole = NamedSharding(self.mesh, sharding.BATCH), NamedSharding(self.mesh, P())

        def shape(value, where):
            return jax.ShapeDtypeStruct(value.shape, value.dtype, sharding=where)

        made = jax.tree.map(shape, jax.eval_shape(self.create), self.layout)
        given = {name: shape(value, rows) for name, value in batch.items()}
        return made, given, jax.tree.map(lambda value: shape(value, whole), codec)


def build(config: ml_collections.ConfigDict, mesh: Mesh, data_sets: int = 1) -> Program:
    """The programs of a configuration.

    Args:
      config: the whole configuration.
      mesh: of `sharding.make_mesh`.
      data_sets: how many the batches are mixed from.

    Raises:
      UserError: a setting matches no parameter, or the mesh cannot divide something.
    """
    train, make = config.train, registry.maker(config)
    plan = flat.blueprint(make)
    state.check_freeze(plan.shapes, train.freeze, plan.buffers)
    check_scales(plan.shapes, config.optimizer.scales)
    optimizer = make_optimizer(config.optimizer, train.steps)
    shardings = sharding.parameter_shardings(plan.shapes, mesh, config.mesh.rules)
    sharding.replicated(plan.shapes, shardings)

    def create():
        return state.create(make, train.freeze, optimizer, train.frozen_dtype)

    layout = sharding.like_parameters(jax.eval_shape(create), plan.shapes, shardings)
    whole = NamedSharding(mesh, P())  # every process reads all metrics
    update = step.make_step(
        plan,
        optimizer,
        seed=config.seed,
        weights=train.loss_weights.to_dict(),
        ema_decay=train.ema,
        spike=train.spike,
        data_sets=data_sets,
        microbatches=train.microbatches,
    )
    return Program(
        mesh=mesh,
        blueprint=plan,
        shardings=shardings,
        layout=layout,
        create=jax.jit(create, out_shardings=layout),
        step=update,
        update=jax.jit(
            sharding.traced_for(mesh, update),
            donate_argnums=0,
            out_shardings=(layout, whole),
            compiler_options=TPU_OPTIONS if placement.on(mesh) == "tpu" else None,
        ),
        evaluate=jax.jit(
            sharding.traced_for(mesh, step.make_evaluation(plan)), out_shardings=whole
        ),
    )


def request(
    config: ml_collections.ConfigDict,
    mode: str,
    steps: int,
    latents: int,
    actions: int,
    refine: bool = True,
) -> SampleRequest:
    """How config.evaluate says to sample windows of so many latents and actions."""
    settings = config.evaluate
    return SampleRequest(
        mode=mode,
        latents=latents,
        actions=actions,
        steps=steps,
        action_steps=settings.action_steps or None,
        video_guidance=settings.video_guidance,
        action_guidance=settings.action_guidance,
        refine=refine,
    )
