"""`--describe`: parameters per part, memory, and hours here, on common GPUs and on TPU hosts."""

import time
from collections import Counter
from collections.abc import Mapping

import jax
import ml_collections
import numpy as np
import psutil

from vidact.models import registry
from vidact.nn import flat, lora
from vidact.training import checks, chips, example, flops, program, sharding, state

# Dense bfloat16 peak in TFLOP/s, from the makers' data sheets: RTX 4090, L40S (362 with 48 GB;
# A6000: 155), A100 80 GB. Half of it is assumed to be reached.
GPUS = {
    "24 GB (RTX 4090)": (24.0, 165.0),
    "48 GB (RTX A6000)": (48.0, 155.0),
    "80 GB (A100)": (80.0, 312.0),
}
HOSTS = {"8 x 16 GB (TPU v5e host)": "v5e", "8 x 32 GB (TPU v6e host)": "v6e"}
CHIPS_OF_HOST = 8
UTILISATION = 0.5
TIMED_TFLOP = 5.0  # three steps of more than this would take minutes on a CPU

PARTS = ("video", "action", "bridge", "decoder", "refiner")  # in this order, then others
BYTES_PER_TRAINABLE = 4 * 5  # parameter, gradient, average and AdamW's two moments, in float32


def describe(config: ml_collections.ConfigDict) -> None:
    """Prints the model's parts and what a training step of this configuration costs.

    Memory is exact for the state; for activations it is the compiled program's temporary buffer
    on this machine, if the state fits into it. The time here is measured where the step fits into
    memory and is small; the others' is FLOPs over half of their peak. A TPU host's chips share the
    memory evenly here: `vidact.compile_check` compiles for them and knows.

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
    work = flops.training_step(config).hardware
    if state_bytes / 1e9 > room:  # compiling takes minutes then, and activations come on top
        print(f"state GB: {state_bytes / 1e9:.2f}")
        print(f"TFLOP per step: {work / 1e12:.3f}")
        print(f"this machine: does not fit, {state_bytes / 1e9:.1f} of {room:.1f} GB free")
        return
    built = program.build(config, mesh)
    given = (example.batch(config).as_dict(), example.codec(config))
    compiled = built.update.lower(*built.arguments(*given)).compile()
    temporary = compiled.memory_analysis().temp_size_in_bytes
    need = (state_bytes + temporary) / 1e9
    print(f"state GB: {state_bytes / 1e9:.2f} activations GB: {temporary / 1e9:.2f}")
    print(f"TFLOP per step: {work / 1e12:.3f}")
    if need > room:
        print(f"this machine: does not fit, {need:.1f} of {room:.1f} GB free")
    elif work / 1e12 > TIMED_TFLOP:
        print("this machine: fits, not timed")
    else:
        seconds = _time(compiled, built.create(), *given)
        hours = config.train.steps * seconds / 3600
        print(
            f"this machine: {seconds:.2f} s per step, {hours:.1f} h for {config.train.steps} steps"
        )
    for name, (memory, peak) in devices().items():
        hours = config.train.steps * work / (peak * 1e12 * UTILISATION) / 3600
        fits = "fits" if need < 0.9 * memory else "does not fit: raise config.train.microbatches"
        print(f"{name}: {fits}, about {hours:.2f} h")


def devices() -> dict[str, tuple[float, float]]:
    """Memory in GB and peak in TFLOP/s of what may be rented, by name; a host's chips together."""
    hosts = {name: chips.CHIPS[generation] for name, generation in HOSTS.items()}
    return GPUS | {
        name: (CHIPS_OF_HOST * chip.hbm / 1e9, CHIPS_OF_HOST * chip.flops / 1e12)
        for name, chip in hosts.items()
    }


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


def _time(compiled: jax.stages.Compiled, fresh: state.TrainState, *given) -> float:
    """Median seconds of three steps on made-up data."""
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        fresh, _ = jax.block_until_ready(compiled(fresh, *given))
        times.append(time.perf_counter() - begin)
    return float(np.median(times))
