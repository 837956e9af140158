"""`--describe`: parameters per part, memory, and hours on this machine and on common GPUs."""

import time
from collections import Counter
from collections.abc import Callable, Mapping

import jax
import ml_collections
import numpy as np
import psutil

from vidact.batch import Batch
from vidact.encoders.video.codec import latent_shape
from vidact.encoders.video.linear import LinearCodec
from vidact.models import registry
from vidact.nn import flat, lora
from vidact.training import checks, prepare, sharding, state, step
from vidact.training.optimizer import make_optimizer

# Dense bfloat16 peak in TFLOP/s, from the makers' data sheets: RTX 4090, L40S (362 with 48 GB;
# A6000: 155), A100 80 GB. Half of it is assumed to be reached.
GPUS = {"24 GB (RTX 4090)": (24, 165), "48 GB (RTX A6000)": (48, 155), "80 GB (A100)": (80, 312)}
UTILISATION = 0.5

PARTS = ("video", "action", "bridge", "decoder", "refiner")  # in this order, then others
BYTES_PER_TRAINABLE = 4 * 5  # parameter, gradient, average and AdamW's two moments, in float32


def describe(config: ml_collections.ConfigDict) -> None:
    """Prints the model's parts and what a training step of this configuration costs.

    Memory is exact for the state; for activations it is the compiled program's temporary buffer
    on this machine, if the state fits into it. The time here is measured where the step fits into
    memory; the GPUs' is FLOPs over half of their peak.

    Raises:
      UserError: the configuration's sizes do not fit each other.
    """
    checks.check_sizes(config)
    plan = flat.blueprint(registry.maker(config))
    state.check_freeze(plan.shapes, config.train.freeze, plan.buffers)
    print(parameter_line(plan.shapes))
    state_bytes = training_bytes(config, plan)
    mesh = sharding.make_mesh(config.mesh)
    room = psutil.virtual_memory().available / 1e9
    work = flops(config, mesh)
    if state_bytes / 1e9 > room:  # compiling takes minutes then, and activations come on top
        print(f"state GB: {state_bytes / 1e9:.2f}")
        print(f"TFLOP per step: {work / 1e12:.3f}")
        print(f"this machine: does not fit, {state_bytes / 1e9:.1f} of {room:.1f} GB free")
        return
    lowered, example = lower(config, plan, mesh)
    program = lowered.compile()
    temporary = program.memory_analysis().temp_size_in_bytes
    need = (state_bytes + temporary) / 1e9
    print(f"state GB: {state_bytes / 1e9:.2f} activations GB: {temporary / 1e9:.2f}")
    print(f"TFLOP per step: {work / 1e12:.3f}")
    if need > room:
        print(f"this machine: does not fit, {need:.1f} of {room:.1f} GB free")
    else:
        seconds = _time(program, example)
        hours = config.train.steps * seconds / 3600
        print(
            f"this machine: {seconds:.2f} s per step, {hours:.1f} h for {config.train.steps} steps"
        )
    for name, (memory, peak) in GPUS.items():
        hours = config.train.steps * work / (peak * 1e12 * UTILISATION) / 3600
        fits = "fits" if need < 0.9 * memory else "does not fit: lower config.train.batch_size"
        print(f"{name}: {fits}, about {hours:.2f} h")


def parameter_line(shapes: Mapping[str, jax.ShapeDtypeStruct]) -> str:
    """`parameters total: N video: ... action: ... bridge: ...`, counted from shapes.

    The null text is left out: it is a buffer in STDiT3 too, whose published count this keeps.
    `vidact.nn.lora`'s factors, where there are any, are a part of their own: `lora: ...`.
    """
    parts = Counter(dict.fromkeys(PARTS, 0))
    for path, value in shapes.items():
        if path == "y_embedding":
            continue
        parts[_part(path)] += int(np.prod(value.shape))
    listed = " ".join(f"{name}: {count}" for name, count in parts.items() if count)
    return f"parameters total: {sum(parts.values())} {listed}"


def _part(path: str) -> str:
    if lora.is_factor(path):
        return "lora"
    if path.startswith("action/decoder"):
        return "decoder"
    first = path.split("/")[0]
    return {"bridges": "bridge", "text_encoder": "text"}.get(first, first)


def training_bytes(config: ml_collections.ConfigDict, plan: flat.Blueprint) -> int:
    """Bytes of the training state and of a gradient."""
    trainable, frozen = state.split_frozen(dict(plan.shapes), config.train.freeze, plan.buffers)
    dtype = config.train.frozen_dtype
    kept = jax.eval_shape(lambda arrays: state.kept(arrays, plan.buffers, dtype), frozen)
    count = sum(value.size for value in trainable.values())
    return count * BYTES_PER_TRAINABLE + sum(v.size * v.dtype.itemsize for v in kept.values())


def lower(config: ml_collections.ConfigDict, plan: flat.Blueprint, mesh: jax.sharding.Mesh):
    """The training step before compiling and a function that makes its arguments."""
    optimizer = make_optimizer(config.optimizer, config.train.steps)
    make = registry.maker(config)
    create, layout = prepare.state_maker(make, plan, config, optimizer, mesh)
    update = step.make_step(
        plan,
        optimizer,
        seed=0,
        weights=config.train.loss_weights.to_dict(),
        ema_decay=config.train.ema,
    )
    given = (example_batch(config).as_dict(), example_codec(config))
    jitted = jax.jit(update, out_shardings=(layout, None))
    return jitted.lower(jax.eval_shape(create), *given), lambda: (create(), *given)


def flops(config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh) -> float:
    """FLOPs of a training step, remat's included.

    Counted without loops over layers, of which XLA's cost analysis would count one round.
    """
    config = config.copy_and_resolve_references()
    config.model.unroll = config.model.depth
    lowered, _ = lower(config, flat.blueprint(registry.maker(config)), mesh)
    cost = lowered.cost_analysis()
    assert cost is not None, "the backend reports no FLOPs"
    return float(cost["flops"])


def _time(program: jax.stages.Compiled, example: Callable[[], tuple]) -> float:
    """Median seconds of three steps on made-up data."""
    args, times = example(), []
    for _ in range(3):
        begin = time.perf_counter()
        jax.block_until_ready(program(*args))
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def example_batch(config: ml_collections.ConfigDict) -> Batch:
    """A batch of the configuration's shapes, filled with zeros; latents where they are stored."""
    data, model, b = config.data, config.model, config.train.batch_size
    count, words = data.frames - 1, (b, data.max_words)
    stored: dict[str, np.ndarray] = {}
    if from_stored(config):
        shape = latent_shape(config)
        stored = dict(
            latents=np.zeros((b, *shape), np.float32),
            condition=np.zeros((b, 1, *shape[1:]), np.float32),
            latent_mask=np.ones((b, shape[0]), bool),
        )
    if config.data.coarse:
        stored["coarse"] = np.zeros((b, count, model.action_dim), np.float32)
    embedded = config.encoder.text != "words"
    return Batch(
        video=None
        if "latents" in stored
        else np.zeros((b, data.frames, *data.resolution, 3), np.uint8),
        actions=np.zeros((b, count, model.action_dim), np.float32),
        action_mask=np.ones((b, count, model.action_dim), bool),
        frame_mask=np.ones((b, data.frames), bool),
        state=np.zeros((b, model.state_dim), np.float32),
        text=np.zeros((*words, model.text_width), np.float32)
        if embedded
        else np.ones(words, np.int32),
        text_mask=np.ones(words, bool),
        fps=np.full((b,), data.fps, np.float32),
        embodiment_id=np.zeros((b,), np.int32),
        dataset_id=np.zeros((b,), np.int32),
        **stored,
    )


def from_stored(config: ml_collections.ConfigDict) -> bool:
    """Whether steps are counted from stored latents: the default with a published codec."""
    return bool(config.data.encoded) or config.encoder.kind != "linear"


def example_codec(config: ml_collections.ConfigDict) -> LinearCodec | None:
    """An unfitted codec of the configuration's shapes; None where latents are stored."""
    if from_stored(config):
        return None
    size, encoder = config.encoder.patch**2 * 3, config.encoder
    return LinearCodec(
        mean=np.zeros((*config.data.resolution, 3), np.float32),
        first_basis=np.eye(size, encoder.channels, dtype=np.float32),
        first_scale=np.ones((encoder.channels,), np.float32),
        later_basis=np.eye(size * encoder.frames, encoder.channels, dtype=np.float32),
        later_scale=np.ones((encoder.channels,), np.float32),
        patch=encoder.patch,
        frames=encoder.frames,
    )
