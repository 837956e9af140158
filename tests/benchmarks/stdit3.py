"""JAX beside PyTorch: the video stream (STDiT3) at full width, forward and forward + backward.

Examples:
  python tests/benchmarks/stdit3.py
  python tests/benchmarks/stdit3.py --depth 2 --runs 3
  python tests/benchmarks/stdit3.py --latent 5x32x32 --words 300

Both sides have the same random weights and inputs, are float32 and keep every activation (no
remat); JAX runs a compiled, PyTorch an eager program. Text is padded to 300 tokens, by default 120
of them are words. Each side is a process of its own, bound to the same cores (sched_setaffinity,
from which XLA sizes its thread pool; torch.set_num_threads); they take turns, and while one runs
the other sleeps. Both have memory in huge pages that is kept between runs (glibc's tunables), and
OpenMP's threads do not spin while they wait. First the outputs must agree, and the norm of every
parameter's gradient. Seconds are medians; CPU seconds are user and system, of all threads; wall
seconds say little on a busy machine. FLOPs are those of the matrix products, counted by hand; "of
its matmul" is the share of the side's own speed at 2048^3, in FLOPs per CPU second. The last line
  cpu ratio jax/torch fwd: ... fwd+bwd: ...
decides: the exit code is 1 where a ratio is over 1. On two cores it takes about 5 minutes.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import numpy as np
import safetensors.numpy

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
PATCH, CHANNELS, WIDTH, RATIO, TEXT_WIDTH, TEXT = 2, 4, 1152, 4, 4096, 300
WEIGHTS, SIZES = "weights.safetensors", "sizes.json"
# Otherwise both sides, and JAX with its one buffer of gigabytes more, fault in memory at every run.
TUNABLES = {"hugetlb": 1, "mmap_max": 0, "arena_max": 1, "trim_threshold": 2**40}
YARDSTICK = 2048  # side of the square matrices whose product is timed
SIDES = ("jax", "torch")
WORK = {"fwd": 1, "fwd+bwd": 3}  # in forward passes: each product has two for its gradients
TOLERANCE = 1e-4  # of the largest output, and of each gradient's norm
Actions = dict[str, Callable]
Times = dict[tuple[str, str], tuple[float, ...]]


def main() -> None:
    """Serves one side where told to, else starts both and prints the table."""
    args = parse()
    if args.side:
        serve(args)
        return
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        args.folder = pathlib.Path(folder)
        write(args)
        workers = {side: stack.enter_context(worker(args, side)) for side in SIDES}
        compare(args.folder, workers)
        times = measure(workers, args.runs)
    sys.exit(0 if report(times, flops(args)) else 1)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--depth", type=int, default=7, help="pairs of blocks; STDiT3 has 28")
    parser.add_argument("--latent", type=extent, default=(10, 16, 16), help="TxHxW, of 4 channels")
    parser.add_argument("--words", type=int, default=120, help=f"of the {TEXT} text tokens")
    parser.add_argument("--runs", type=int, default=5, help="of which medians are taken")
    parser.add_argument("--threads", type=int, default=2, help="and cores")
    parser.add_argument("--side", choices=SIDES, help="serve this side; the script's own use")
    parser.add_argument("--folder", type=pathlib.Path, help="where that side finds its weights")
    return parser.parse_args()


def extent(text: str) -> tuple[int, ...]:
    """Reads 10x16x16."""
    return tuple(map(int, text.split("x")))


def flops(args: argparse.Namespace) -> float:
    """Of a forward pass's matrix products; a multiplication and its addition are two."""
    frames, height, width = args.latent
    places = height * width // PATCH**2
    tokens = frames * places
    block = (4 + 2 + 2 * RATIO) * tokens * WIDTH**2 + 2 * TEXT * WIDTH**2
    pairs = places + frames + 2 * TEXT  # keys of a query, in a spatial and a temporal block
    blocks = args.depth * (2 * block + 2 * pairs * tokens * WIDTH)
    times = (frames + 1) * (256 + WIDTH) * WIDTH + frames * 6 * WIDTH**2
    text = TEXT * (TEXT_WIDTH + WIDTH) * WIDTH
    return 2.0 * (blocks + times + text + 2 * tokens * PATCH**2 * CHANNELS * WIDTH)


def network(args: argparse.Namespace):
    """The JAX model's sizes, and the network with its weights' names."""
    from vidact.interop.networks import KINDS
    from vidact.models.covar.config import CoVARConfig

    config = CoVARConfig(depth=args.depth, max_words=TEXT)
    return config, KINDS["opensora-stdit3"].build(dataclasses.asdict(config))


def write(args: argparse.Namespace) -> None:
    """Random weights under STDiT3's names, no layer at zero, and the sizes for PyTorch."""
    from vidact import export
    from vidact.nn import rope

    config, built = network(args)
    rng, tensors = np.random.default_rng(0), {}
    for place in built.places:
        scale = np.prod(place.shape[1:]) ** -0.5 if place.kernel else 0.1
        noise = np.float32(scale) * rng.standard_normal(place.shape, np.float32)
        tensors[place.name] = noise + np.float32(place.path.endswith("norm/weight"))
    tensors["rope.freqs"] = rope.frequencies(config.video_width // config.video_heads)
    safetensors.numpy.save_file(tensors, args.folder / WEIGHTS)
    sizes = dataclasses.asdict(export.sizes(config))
    (args.folder / SIZES).write_text(json.dumps(sizes))


def inputs(args: argparse.Namespace) -> tuple[np.ndarray, ...]:
    """Latents, times, text, its mask and the frame rate, as `VideoDiT.__call__` takes them."""
    rng = np.random.default_rng(1)
    latents = rng.standard_normal((1, *args.latent, CHANNELS), np.float32)
    t = rng.uniform(0, 1, latents.shape[:2]).astype(np.float32)
    text = rng.standard_normal((1, TEXT, TEXT_WIDTH), np.float32)
    return latents, t, text, np.arange(TEXT)[None] < args.words, np.full(1, 24, np.float32)


@contextlib.contextmanager
def worker(args: argparse.Namespace, side: str) -> Iterator[Callable]:
    """A process that serves a side: a function from an action to the seconds that it took."""
    command = [sys.executable, __file__, *sys.argv[1:], f"--side={side}", f"--folder={args.folder}"]
    tunables = ":".join(f"glibc.malloc.{name}={value}" for name, value in TUNABLES.items())
    settings = dict(GLIBC_TUNABLES=tunables, OMP_WAIT_POLICY="passive", JAX_PLATFORMS="cpu")
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | settings, **pipes) as process:

        def ask(action: str) -> tuple[float, ...]:
            print(action, file=process.stdin, flush=True)
            return tuple(json.loads(process.stdout.readline()))

        yield ask  # leaving closes the process's input, which ends it


def serve(args: argparse.Namespace) -> None:
    """Does each action that is named on standard input; answers with CPU and wall seconds."""
    cores = sorted(os.sched_getaffinity(0))[: args.threads]
    os.sched_setaffinity(0, cores)  # before a library counts them
    actions = {"jax": jax_side, "torch": torch_side}[args.side](args)
    for line in sys.stdin:
        cpu, wall = time.process_time(), time.perf_counter()
        result = actions[line.strip()]()
        print(json.dumps((time.process_time() - cpu, time.perf_counter() - wall)), flush=True)
        del result


def jax_side(args: argparse.Namespace) -> Actions:
    """What the JAX side does."""
    import jax
    import jax.numpy as jnp

    from vidact.interop import names
    from vidact.nn import flat
    from vidact.training import state

    _, built = network(args)
    model = built.load(safetensors.numpy.load_file(args.folder / WEIGHTS))
    params, frozen = state.split_frozen(flat.parameters(model), [], built.plan.buffers)
    given = tuple(map(jnp.asarray, inputs(args)))
    square = jnp.ones((YARDSTICK, YARDSTICK))

    def forward(params, given):
        return built.plan.assemble({**params, **frozen}).video(*given)

    def loss(params, given):
        return jnp.square(forward(params, given)).mean()

    product, forward, both = jax.jit(jnp.matmul), jax.jit(forward), jax.jit(jax.grad(loss))

    def check() -> None:
        found = {path: np.asarray(gradient) for path, gradient in both(params, given).items()}
        save(args, np.asarray(forward(params, given)), names.to_torch(built.layout, found))

    return {
        "check": check,
        "matmul": lambda: jax.block_until_ready(product(square, square)),
        "fwd": lambda: jax.block_until_ready(forward(params, given)),
        "fwd+bwd": lambda: jax.block_until_ready(both(params, given)),
    }


def torch_side(args: argparse.Namespace) -> Actions:
    """What the PyTorch side does."""
    import torch

    from vidact.robot import weights
    from vidact.robot.config import Sizes
    from vidact.robot.video_dit import VideoDiT

    torch.set_num_threads(args.threads)
    model = VideoDiT(Sizes(**json.loads((args.folder / SIZES).read_text())))
    weights.load(model, args.folder / WEIGHTS)
    model.requires_grad_(True)
    latents, t, text, mask, fps = map(torch.from_numpy, inputs(args))
    square = torch.ones(YARDSTICK, YARDSTICK)

    def velocity() -> torch.Tensor:
        x, y = model.embed(latents), model.y_embedder.y_proj(text)
        embedded, t6 = model.time(t, fps)
        turn = model.rotation(x.shape[1])
        for spatial, temporal in zip(model.spatial_blocks, model.temporal_blocks, strict=True):
            x = temporal(spatial(x, t6, y, mask), t6, y, mask, turn)
        return model.head(x, embedded, latents.shape)

    def both() -> None:
        model.zero_grad()
        velocity().square().mean().backward()

    def check() -> None:
        both()
        found = {name: p.grad.numpy() for name, p in model.named_parameters()}
        save(args, torch.no_grad()(velocity)().numpy(), found)

    return {
        "check": check,
        "matmul": lambda: square @ square,
        "fwd": torch.inference_mode()(velocity),
        "fwd+bwd": both,
    }


def save(args: argparse.Namespace, output: np.ndarray, gradients: dict[str, np.ndarray]) -> None:
    """Leaves the output and the gradients' norms for `compare`."""
    norms = {name: np.linalg.norm(array) for name, array in gradients.items()}
    np.savez(args.folder / f"{args.side}.npz", output=output, **norms)


def compare(folder: pathlib.Path, workers: dict[str, Callable]) -> None:
    """Prints how far the sides are apart.

    Raises:
      AssertionError: too far.
    """
    for ask in workers.values():
        ask("check")
    mine, theirs = (dict(np.load(folder / f"{side}.npz")) for side in SIDES)
    assert mine.keys() == theirs.keys()
    largest = {name: np.abs(array).max() for name, array in theirs.items()}
    apart = {name: np.abs(mine[name] - theirs[name]).max() for name in mine}
    relative = {name: apart[name] / largest[name] for name in mine}
    print(f"output: max abs diff {apart['output']:.1e}, largest {largest['output']:.2f}")
    print(f"norms of {len(mine) - 1} gradients: max relative diff {max(relative.values()):.1e}")
    assert max(relative.values()) <= TOLERANCE, max(relative, key=lambda name: relative[name])


def measure(workers: dict[str, Callable], runs: int) -> Times:
    """Median CPU and wall seconds by side and action; the sides take turns."""
    times = {}
    for action in ("matmul", *WORK):
        rounds = [{side: ask(action) for side, ask in workers.items()} for _ in range(2 + runs)]
        for side in workers:
            taken = [seconds[side] for seconds in rounds[2:]]  # two to warm up: the heap grows
            times[side, action] = tuple(map(statistics.median, zip(*taken)))
    return times


def report(times: Times, forward: float) -> bool:
    """Prints speeds and ratios; whether no CPU ratio is over 1.

    Args:
      times: from `measure`.
      forward: FLOPs of a forward pass.
    """
    print(f"TFLOP fwd: {forward / 1e12:.3f} fwd+bwd: {3 * forward / 1e12:.3f}")
    for side in SIDES:
        best = 2 * YARDSTICK**3 / times[side, "matmul"][0]
        print(f"{side} matmul: GFLOP per cpu s {best / 1e9:.0f}")
        for action, passes in WORK.items():
            cpu, wall = times[side, action]
            speed = passes * forward / cpu
            print(
                f"{side} {action}: cpu s {cpu:.2f} wall s {wall:.2f} GFLOP per cpu s "
                f"{speed / 1e9:.0f}, {speed / best:.2f} of its matmul"
            )
    for clock in ("wall", "cpu"):
        at = ("cpu", "wall").index(clock)
        ratios = [times["jax", action][at] / times["torch", action][at] for action in WORK]
        print(f"{clock} ratio jax/torch fwd: {ratios[0]:.2f} fwd+bwd: {ratios[1]:.2f}")
    return max(ratios) <= 1


if __name__ == "__main__":
    main()
