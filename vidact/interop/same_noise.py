"""Inputs for comparing two implementations of a model, and what the JAX one makes of them."""

from collections.abc import Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from vidact import text
from vidact.encoders import encode
from vidact.encoders.video.codec import latent_shape
from vidact.inputs import Chunk, SampleRequest
from vidact.models import registry
from vidact.nn import flat
from vidact.training import runs

SAMPLES = 2
_INSTRUCTION = "open the drawer"
_OBSERVED = ("state", "text", "text_mask", "fps")


def random_frames(run: runs.Run, count: int = SAMPLES) -> dict[str, np.ndarray]:
    """Starts without a data set: `video` (one frame), `state`, `text`, `text_mask`, `fps`."""
    config, rng = run.config, np.random.default_rng(0)
    words, mask = text.tokenize(
        [_INSTRUCTION] * count, config.model.max_words, config.model.vocabulary
    )
    return {
        "video": rng.integers(0, 256, (count, 1, *config.data.resolution, 3), np.uint8),
        "state": rng.uniform(-1, 1, (count, config.model.state_dim)).astype(np.float32),
        "text": words,
        "text_mask": mask,
        "fps": np.full(count, run.fps, np.float32),
    }


def noise(run: runs.Run, count: int = SAMPLES) -> Chunk:
    """Gaussian noise, the same on every machine; float32."""
    config = run.config
    shapes = (
        (count, *latent_shape(config)),
        (count, config.data.frames - 1, config.model.action_dim),
    )
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    return Chunk(latents=jnp.asarray(arrays[0]), actions=jnp.asarray(arrays[1]))


def denoise(
    run: runs.Run, arrays: Mapping[str, np.ndarray], start: Chunk, **sampling: Any
) -> Chunk:
    """What the JAX model makes of the noise in float32, whatever its compute dtype.

    Args:
      run: the model.
      arrays: `vidact.batch.Batch`'s, of which the first frame is read; or `random_frames`.
      start: from `noise`.
      **sampling: fields of a `SampleRequest`; the lengths are those of `start`.
    """
    observed = (jnp.asarray(arrays[name]) for name in _OBSERVED)
    observation = encode.observation(run.codec, jnp.asarray(arrays["video"][:, 0]), *observed)
    request = SampleRequest(
        latents=start.latents.shape[1], actions=start.actions.shape[1], **sampling
    )
    config = run.config.copy_and_resolve_references()
    config.model.dtype = "float32"
    plan = flat.blueprint(registry.maker(config))
    run_model = jax.jit(lambda p, o, n: plan.assemble(p).denoise(o, n, request))
    with jax.default_matmul_precision("highest"):
        return run_model(flat.parameters(cast(nnx.Module, run.model)), observation, start)
