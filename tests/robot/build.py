"""The same small CoVAR in JAX and in PyTorch, with nothing left at zero."""

import dataclasses
import functools
import pathlib
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from configs import base
from vidact import actions, export, inputs
from vidact.encoders.video import linear
from vidact.interop import keys, names
from vidact.models.covar.config import CoVARConfig
from vidact.models.covar.model import CoVAR
from vidact.nn import flat
from vidact.robot import covar, weights
from vidact.training import runs

torch.set_num_threads(1)  # at these sizes threads only wait for each other
FAST = {"xla_backend_optimization_level": 0}  # compiling takes longer than running

BATCH, LATENTS, SIDE, ACTIONS = 2, 3, 8, 7  # 7 actions: the UNet pads them
CONFIG = CoVARConfig(
    depth=2,
    video_width=48,
    video_heads=4,
    action_width=32,
    action_heads=2,
    bridge_width=40,
    bridge_heads=4,
    patch=2,
    latent_channels=6,
    latent_frames=4,
    action_dim=3,
    state_dim=5,
    text_width=24,
    text_depth=2,
    vocabulary=64,
    max_words=7,
    decoder_channels=(64, 48),
    learn_sigma=True,
    time_shift=2.5,
)


@functools.cache
def jax_model() -> CoVAR:
    """Every parameter gets noise, so that layers which start at zero take part."""
    plan = flat.blueprint(lambda: CoVAR(CONFIG, rngs=nnx.Rngs(0)))
    return plan.assemble({path: _noise(path, leaf.shape) for path, leaf in plan.shapes.items()})


def _noise(path: str, shape: tuple[int, ...]) -> jax.Array:
    rng = np.random.default_rng(zlib.crc32(path.encode()))
    scale = shape[-2] ** -0.5 if path.endswith("kernel") else 0.3
    offset = 1.0 if path.endswith("weight") else 0.0
    return jnp.asarray(offset + scale * rng.standard_normal(shape), jnp.float32)


def tensors() -> dict[str, np.ndarray]:
    """The model's weights under their names in files."""
    arrays = {k: np.asarray(v) for k, v in flat.parameters(jax_model()).items()}
    return names.to_torch(keys.covar(CONFIG.patch), arrays)


@functools.cache
def torch_model() -> covar.CoVAR:
    model = covar.CoVAR(export.sizes(CONFIG))
    weights.fill(model, {k: tensor(v) for k, v in tensors().items()}, "tensors")
    return model


def observation(side: int = SIDE) -> inputs.Observation:
    """A batch whose texts have different lengths, one with a hole, and different rates."""
    rng = np.random.default_rng(1)
    mask = np.zeros((BATCH, CONFIG.max_words), bool)
    mask[0, :3], mask[1, [0, 1, 4]] = True, True
    return inputs.Observation(
        condition=_normal(rng, BATCH, 1, side, side, CONFIG.latent_channels),
        state=_normal(rng, BATCH, CONFIG.state_dim),
        text=jnp.asarray(rng.integers(0, CONFIG.vocabulary, mask.shape), jnp.int32),
        text_mask=jnp.asarray(mask),
        fps=jnp.asarray([20.0, 5.0], jnp.float32),
        latents=_normal(rng, BATCH, LATENTS, side, side, CONFIG.latent_channels),
        actions=_normal(rng, BATCH, ACTIONS, CONFIG.action_dim),
    )


def noise() -> inputs.Chunk:
    rng = np.random.default_rng(2)
    latents = _normal(rng, BATCH, LATENTS, SIDE, SIDE, CONFIG.latent_channels)
    return inputs.Chunk(latents=latents, actions=_normal(rng, BATCH, ACTIONS, CONFIG.action_dim))


def codec(size: int = 32) -> linear.LinearCodec:
    """Fitted to noise: 4 x 4 patches of 32 x 32 pixels become 8 x 8 latents."""
    clips = np.random.default_rng(3).integers(0, 256, (4, 9, size, size, 3), np.uint8)
    return linear.fit(clips, patch=4, frames=4, channels=CONFIG.latent_channels)


@functools.cache
def run() -> runs.Run:
    """What training would leave behind, for frames of 32 x 32 pixels and chunks of 8 actions."""
    config = base.get_config()
    config.model.update({"unroll": 1, **dataclasses.asdict(CONFIG)})
    config.encoder.update({"patch": 4, "channels": CONFIG.latent_channels})
    config.data.update({"frames": 9, "resolution": (32, 32), "max_words": CONFIG.max_words})
    spread = {"action": CONFIG.action_dim, "state": CONFIG.state_dim}
    run = runs.Run(
        workdir=pathlib.Path("run"),
        step=12,
        config=config,
        model=jax_model(),
        statistics={"own": {kind: measured(width) for kind, width in spread.items()}},
        rates={"own": config.data.fps},
    )
    vars(run)["codec"] = codec()  # there is no work directory to read it from
    return run


def measured(width: int) -> actions.Statistics:
    """Statistics of as many columns."""
    return actions.measure(np.random.default_rng(width).normal(3, 2, (50, width)))


def tensor(array) -> torch.Tensor:
    return torch.from_numpy(np.array(array))


def torch_observation(given: inputs.Observation) -> covar.Observation:
    names = ("condition", "state", "text", "text_mask", "fps")
    return covar.Observation(**{name: tensor(getattr(given, name)) for name in names})


def largest(found: torch.Tensor, wanted) -> float:
    return float(np.abs(found.numpy() - np.asarray(wanted)).max())


def _normal(rng, *shape):
    return jnp.asarray(rng.standard_normal(shape), jnp.float32)
