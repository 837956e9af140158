"""Samples of a run: windows in any of the five modes, and the jitted call behind all sampling."""

import dataclasses
import functools
from typing import Any

import jax
import ml_collections
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, UInt8

from vidact.actions import denormalise
from vidact.batch import Batch
from vidact.encoders.encode import encode
from vidact.encoders.video.codec import latent_shape
from vidact.encoders.video.linear import to_uint8
from vidact.inputs import Chunk, Observation, SampleRequest, observe
from vidact.processes import joint_time
from vidact.training import program, sharding
from vidact.training.runs import Run


@dataclasses.dataclass(frozen=True)
class Samples:
    """What a run generates for B windows.

    A modality that the mode neither generates nor is given (see `generates`) is left as noise.

    Attributes:
      video: decoded frames, 0 to 255; the first is the codec's reconstruction of the true one.
      actions: in the units of the data set.
      latents: what `video` was decoded from.
    """

    video: UInt8[np.ndarray, "B T H W 3"]
    actions: Float[np.ndarray, "B Ta A"]
    latents: Float[np.ndarray, "B n h w c"]


def sample_windows(
    run: Run, batch: Batch, mode: str, steps: int, key: Array, refine: bool = True
) -> Samples:
    """Samples the windows of a batch in one mode; compiled once per shape, mode and `steps`.

    Args:
      run: a trained model.
      batch: its first frames, states and texts are always seen; its video and actions only in the
        modes that are given them (inverse and forward).
      mode: one of `joint_time.MODES`.
      steps: Euler steps, at least 1.
      key: draws the noise.
      refine: whether a model with a refiner uses it.
    """
    known = observe(encode(run.codec, batch.as_dict()))
    chunk = sample(run, known, request(run.config, mode, steps, refine), key)
    return Samples(
        video=np.asarray(to_uint8(run.codec.decode(chunk.latents))),
        actions=in_robot_units(run, np.asarray(chunk.actions), batch.dataset_id),
        latents=np.asarray(chunk.latents),
    )


def reconstruct(run: Run, video: UInt8[np.ndarray, "B T H W 3"]) -> UInt8[np.ndarray, "B T H W 3"]:
    """What the codec alone makes of a video: encoded and decoded."""
    return np.asarray(to_uint8(run.codec.decode(run.codec.encode(video))))


def first_frame(run: Run, truth: UInt8[np.ndarray, "B T H W 3"]) -> UInt8[np.ndarray, "B H W 3"]:
    """The codec's own reconstruction of the first frames, coded alone."""
    return reconstruct(run, truth[:, :1])[:, 0]


def generates(mode: str) -> tuple[bool, bool]:
    """Whether a mode generates video, and whether it generates actions."""
    first, last = joint_time.schedule(mode, 1)
    video, action = (first == 1) & (last == 0)
    return bool(video), bool(action)


def request(
    config: ml_collections.ConfigDict, mode: str, steps: int, refine: bool = True
) -> SampleRequest:
    """A request for windows of the length that a run of this configuration was trained on."""
    sizes = latent_shape(config)[0], config.data.frames - 1
    return program.request(config, mode, steps, *sizes, refine)


def sample(run: Run, observation: Observation, request: SampleRequest, key: Array) -> Chunk:
    """`model.sample` under jit: latents and normalised actions."""
    graphdef, state = nnx.split(run.model)
    return jitted()(graphdef, state, observation, key, request)


def parameters(run: Run) -> int:
    """Number of the model's parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(run.model)))


def in_robot_units(
    run: Run, actions: Float[np.ndarray, "B Ta A"], data_sets: Int[np.ndarray, " B"]
) -> Float[np.ndarray, "B Ta A"]:
    """Normalised actions in the units of their data sets; columns that one lacks stay as they are.

    Args:
      run: a trained model.
      actions: without unit.
      data_sets: the batch's dataset_id.
    """
    found, method = actions.copy(), run.config.data.normalisation
    for number, statistics in enumerate(run.statistics.values()):
        rows, width = data_sets == number, len(statistics["action"].mean)
        found[rows, :, :width] = denormalise(actions[rows, :, :width], statistics["action"], method)
    return found


@functools.cache
def jitted(mesh: Mesh | None = None) -> Any:
    """`draw` under jit; for a mesh that need not be there, or for the devices that JAX has.

    On CPU, LLVM's first level runs as fast and compiles in half the time.
    """
    if mesh is not None:
        return jax.jit(sharding.traced_for(mesh, draw), static_argnums=(0, 4))
    options = {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else None
    return jax.jit(draw, static_argnums=(0, 4), compiler_options=options)


def draw(
    graphdef: nnx.GraphDef,
    state: Any,
    observation: Observation,
    key: Array,
    request: SampleRequest,
) -> Chunk:
    """`model.sample` of a model in two parts, as jit wants it."""
    return nnx.merge(graphdef, state).sample(observation, key, request)
