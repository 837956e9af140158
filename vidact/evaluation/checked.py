"""What `vidact.sample` compiles, for a pod that is not there: the sampler, and the decoder."""

from collections.abc import Callable
from typing import Any

import jax
import ml_collections
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from vidact.encoders.encode import encode
from vidact.encoders.video.codec import latent_shape
from vidact.evaluation import sampling
from vidact.inputs import Observation, observe
from vidact.models import registry
from vidact.nn import flat
from vidact.training import checks, example, flops, sharding
from vidact.training.checked import Checked


def programs(config: ml_collections.ConfigDict, devices: Any) -> list[Checked]:
    """The programs of `sampling.sample_windows`, each chip with whole weights and rows of its own.

    `vidact.sample` uses one chip. More of them do the same side by side: nothing is split.

    Args:
      config: the whole configuration; config.evaluate says the mode, steps and guidance.
      devices: of the pod.

    Raises:
      UserError: the configuration is wrong.
    """
    config = config.copy_and_resolve_references()
    config.data.encoded = ""  # the codec is used whatever training read
    checks.check_sizes(config)
    alone = ml_collections.ConfigDict(dict(data=-1, fsdp=1, tensor=1, context=1))
    mesh = sharding.make_mesh(alone, devices)
    sharding.check_batch(config.train.batch_size, mesh)
    return [_sampler(config, mesh), _decoder(config, mesh)]


def _sampler(config: ml_collections.ConfigDict, mesh: Mesh) -> Checked:
    settings = config.evaluate
    request = sampling.request(config, settings.mode, settings.sample_steps)
    plan = flat.blueprint(registry.maker(config))
    graphdef, weights = nnx.split(plan.assemble(plan.shapes))
    key = jax.eval_shape(lambda: jax.random.key(0))
    given = (_whole(weights, mesh), _rows(_observation(config), mesh), _whole(key, mesh))

    def draw(weights, observation, key):
        return sampling.draw(graphdef, weights, observation, key, request)

    return Checked(
        name="sampler",
        settings=f"mode: {request.mode}, steps: {request.steps}",
        mesh=mesh,
        batch=config.train.batch_size,
        jitted=sampling.jitted(mesh),
        arguments=(graphdef, *given, request),
        parameters=given[0],
        work=_work(draw, *given),
    )


def _decoder(config: ml_collections.ConfigDict, mesh: Mesh) -> Checked:
    def decode(codec, latents):
        return codec.decode(latents)

    codec, b = example.codec(config, pixels=True), config.train.batch_size
    latents = jax.ShapeDtypeStruct((b, *latent_shape(config)), "float32")
    given = (_whole(codec, mesh), _rows(latents, mesh))
    return Checked(
        name="decoder",
        settings=f"frames: {config.data.frames}",
        mesh=mesh,
        batch=b,
        jitted=jax.jit(sharding.traced_for(mesh, decode)),
        arguments=given,
        parameters=given[0],
        work=_work(decode, *given),
    )


def _observation(config: ml_collections.ConfigDict) -> Observation:
    """Shapes of what the sampler is given, encoded already."""

    def encoded(codec, batch):
        return observe(encode(codec, batch))

    return jax.eval_shape(encoded, example.codec(config), example.batch(config).as_dict())


def _work(function: Callable, *args: Any) -> flops.Work:
    total = flops.count(function, *args)
    return flops.Work(total, total)


def _rows(tree: Any, mesh: Mesh) -> Any:
    return _placed(tree, NamedSharding(mesh, sharding.BATCH))


def _whole(tree: Any, mesh: Mesh) -> Any:
    return _placed(tree, NamedSharding(mesh, P()))


def _placed(tree: Any, where: NamedSharding) -> Any:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), tree)
