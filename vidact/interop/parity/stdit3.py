"""STDiT3 of Open-Sora 1.2: outputs, intermediates and gradients (specs/opensora.md 1, 4, 9)."""

import pathlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from vidact.errors import UserError
from vidact.interop import names, networks
from vidact.interop.parity import cases as dumps
from vidact.interop.parity.cases import Case, compare
from vidact.models.covar.video_dit import VideoDiT
from vidact.nn import embeddings, flat, layers, norms, rope
from vidact.nn.group_norm import GroupNorm
from vidact.processes import rectified_flow

OUTPUT, GRADIENT, PART = 1e-4, 1e-4, 1e-5
RELATIVE_GRADIENT = 1e-3  # of each tensor's largest
KIND = networks.KINDS["opensora-stdit3"]


def cases(folder: pathlib.Path) -> Iterator[Case]:
    """Every case of every STDiT3 in the folder: its output, intermediates, then gradients."""
    for path in sorted(folder.glob("*_config.json")):
        config = dumps.settings(path).get("config", {})
        if "caption_channels" not in config:
            continue  # of another network
        stem = path.name.removesuffix("_config.json")
        network = KIND.build(sizes(config))
        model = network.load(dumps.tensors(folder / f"{stem}.safetensors")).video
        io = dumps.arrays(folder / f"{stem}_io.npz")
        run = jax.jit(VideoDiT.reference, static_argnums=7)
        for case in dict.fromkeys(name.split("/")[0] for name in io):
            given = arguments(dumps.under(io, f"{case}/in/"))
            frames = clean(given, io.get(f"{case}/in/x_mask"))
            found = run(model, frames, *given)
            wanted = dumps.channels_last(io[f"{case}/out"])
            yield compare(f"{stem} {case}", found, wanted, OUTPUT)
            mid = dumps.under(io, f"{case}/mid/")
            if mid:
                yield from intermediates(f"{stem} {case}", model, given, frames, mid)
        yield from gradients(folder, stem, network, model, io)


def sizes(config: Mapping[str, Any]) -> networks.Sizes:
    """Ours, from the arguments of STDiT3's constructor."""
    return dict(
        depth=config["depth"],
        video_width=config["hidden_size"],
        video_heads=config["num_heads"],
        mlp_ratio=config["mlp_ratio"],
        patch=config["patch_size"][-1],
        latent_channels=config["in_channels"],
        text_width=config["caption_channels"],
        max_words=config["model_max_length"],
        learn_sigma=config["pred_sigma"],
    )


def arguments(given: Mapping[str, np.ndarray]) -> tuple:
    """STDiT3's arguments in VideoDiT's terms: latents, t, text, its mask, fps and pixels."""
    latents = dumps.channels_last(given["x"])
    count, frames = latents.shape[:2]
    denoised = given.get("x_mask", np.ones((count, frames), bool))
    t = np.where(denoised, given["timestep"][:, None] / 1000, 0).astype(np.float32)
    mask = given.get("mask", np.ones((count, given["y"].shape[2]), np.int64))
    return (
        jnp.asarray(latents),
        jnp.asarray(t),
        jnp.asarray(given["y"][:, 0]),
        # Guidance doubles the batch, but neither the text's mask nor the frame rate.
        jnp.asarray(np.tile(mask, (count // len(mask), 1)) != 0),
        jnp.asarray(np.tile(given["fps"], count // len(given["fps"])), jnp.float32),
        (float(given["height"].flat[0]), float(given["width"].flat[0])),
    )


def clean(given: tuple, x_mask: np.ndarray | None) -> jax.Array:
    """The conditioning frames [B, T]; without a mask there are none."""
    shape = given[1].shape
    return jnp.asarray(np.zeros(shape, bool) if x_mask is None else ~x_mask)


class _Recorder:
    """Stands before a layer and keeps what it returns."""

    def __init__(self, inner: Callable, keep: Callable):
        self._inner, self._keep = inner, keep

    def __call__(self, *args, **kwargs):
        result = self._inner(*args, **kwargs)
        self._keep(result)
        return result


def intermediates(
    name: str,
    model: VideoDiT,
    given: tuple,
    frames: jax.Array,
    wanted: Mapping[str, np.ndarray],
) -> Iterator[Case]:
    """Outputs of layers, op by op, for those that the dump has; `frames` are the clean ones."""
    found = _record(model, given, frames)
    for layer, array in wanted.items():
        if layer.startswith(("t_embedder", "t_block", "fps_embedder", "pos_embed")):
            value = _of_time_or_place(model, given, layer)
        else:
            value = found[layer]
        yield compare(f"{name} {layer}", np.reshape(value, array.shape), array, OUTPUT)


def _of_time_or_place(model: VideoDiT, given: tuple, layer: str):
    """What does not depend on the tokens; #1 is the second call, with t = 0."""
    latents, t, _, _, fps, (height, width) = given
    if layer == "pos_embed":
        patch = model.config.patch
        rows, columns = (-(-side // patch) for side in latents.shape[2:4])
        return _position(rows, columns, model.config.video_width, height, width)
    now = 0 * t[:, :1] if layer.endswith("#1") else t.max(axis=1, keepdims=True)
    if layer.startswith("t_embedder"):
        return model.time.t_embedder(now * 1000)
    if layer.startswith("fps_embedder"):
        return model.time.fps_embedder(fps)
    return model.time(now, fps)[1]


def _position(rows: int, columns: int, width: int, height: float, breadth: float) -> np.ndarray:
    scale, base = (height * breadth) ** 0.5 / 512, round((rows * columns) ** 0.5)
    return embeddings.position_2d(rows, columns, width, scale=scale, base=base)


def _record(model: VideoDiT, given: tuple, frames: jax.Array) -> dict[str, jax.Array]:
    """The outputs of the layers that see tokens, by STDiT3's names."""
    latents, t, text, text_mask, fps, pixels = given
    found: dict[str, Any] = {}

    def watch(owner, attribute: str, name: str):
        inner = getattr(owner, attribute)
        setattr(owner, attribute, _Recorder(inner, lambda result: found.update({name: result})))

    model = jax.tree.map(lambda leaf: leaf, model)  # the caller's stays as it is
    watch(model, "x_embedder", "x_embedder")
    x, y = model.embed(latents, pixels), model.y_proj(text)
    found["y_embedder"] = y
    embedded, t6 = model.time(t, fps)
    turns = {"spatial": None, "temporal": model.rotation(latents.shape[1])}
    for number in range(model.config.depth):
        for kind, turn in turns.items():
            block = layers.layer(getattr(model, f"{kind}_blocks"), number)
            name = f"{kind}_blocks.{number}"
            for part in ("attn", "cross_attn", "mlp"):
                watch(block, part, f"{name}.{part}")
            x = found[name] = block(x, t6, y, text_mask, turn)
    x = jnp.where(frames[:, :, None, None], model.distorted(x, t, fps), x)
    found["final_layer"] = model.final_layer(x, embedded)
    return found


def gradients(
    folder: pathlib.Path,
    stem: str,
    network: networks.Network,
    model: VideoDiT,
    io: Mapping[str, np.ndarray],
) -> Iterator[Case]:
    """Of the mean training loss, with and without clean frames, for each tensor."""
    train = dumps.under(_parts(folder, stem), "train/")
    for path in sorted(folder.glob(f"{stem}_grads_*.safetensors")):
        kind = path.stem.removeprefix(f"{stem}_grads_")
        wanted = dumps.tensors(path)
        given = _like(io, train["x0"].shape, path)
        losses, found = gradient(model, given, train, kind == "masked")
        yield compare(f"{stem} {kind} loss", losses, train[f"{kind}/loss"], OUTPUT)
        paths = {f"video/{path}": np.asarray(value) for path, value in found.items()}
        places = names.places(network.layout, {k: v.shape for k, v in paths.items()})
        got = {p.name: p.to_torch(p.part(paths[p.path])) for p in places}
        for name, array in wanted.items():
            case = compare(f"{stem} {kind} gradient {name}", got[name], array, GRADIENT)
            relative = RELATIVE_GRADIENT * float(np.abs(array).max())
            yield case._replace(tolerance=min(GRADIENT, relative) if relative else GRADIENT)


def _like(io: Mapping[str, np.ndarray], shape: tuple[int, ...], path: pathlib.Path):
    """The inputs of the first case of this shape that has conditioning frames: training's too.

    Raises:
      UserError: there is none.
    """
    for case in dict.fromkeys(name.split("/")[0] for name in io):
        if io[f"{case}/in/x"].shape == shape and f"{case}/in/x_mask" in io:
            return dumps.under(io, f"{case}/in/")
    raise UserError(f"{path}: no case with x_mask has the shape {shape} of train/x0; dump one")


def gradient(model: VideoDiT, given, train, masked: bool):
    """Losses per sample, and the gradient of their mean by path (specs/opensora.md 4).

    Args:
      model: with the dump's weights.
      given: the inputs of a case, of which text, sizes and frame rate are taken.
      train: `x0`, `noise` and `t`.
      masked: whether the case's conditioning frames are clean and without loss.
    """
    graphdef, weights = nnx.split(model)
    names_of = list(flat.parameters(model))
    args = dict(given) | {"timestep": train["t"], "x": train["x0"]}
    if not masked:
        args.pop("x_mask", None)
    clean, t, *rest = arguments(args)
    noise = jnp.asarray(dumps.channels_last(train["noise"]))
    keep = jnp.asarray(args.get("x_mask", np.ones(t.shape, bool)), jnp.float32)

    def loss(weights):
        velocity = nnx.merge(graphdef, weights)(
            rectified_flow.interpolate(clean, noise, t), t, *rest
        )
        error = jnp.square(velocity - rectified_flow.velocity(clean, noise)).mean((2, 3, 4))
        losses = (error * keep).sum(1) / keep.sum(1)
        return losses.mean(), losses

    (_, losses), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(weights)
    return losses, dict(zip(names_of, jax.tree.leaves(gradient), strict=True))


def _parts(folder: pathlib.Path, stem: str) -> dict[str, np.ndarray]:
    """The file of loose parts that goes with a network, or nothing."""
    for path in sorted(folder.glob("*_parts.npz")):
        if stem.startswith(path.name.removesuffix("_parts.npz")):
            return dumps.arrays(path)
    return {}


def parts(folder: pathlib.Path) -> Iterator[Case]:
    """Embeddings, rotations and norms for themselves; small inputs tell epsilons apart."""
    for path in sorted(folder.glob("*_parts.npz")):
        found = dumps.arrays(path)
        for name in found:
            value = _part(found, name)
            if value is not None:
                yield compare(f"{path.stem} {name}", value, found[name], PART)


def _part(found: Mapping[str, np.ndarray], name: str):
    """What we make of the input that belongs to an output, or None for an input."""
    if match := re.fullmatch(r"timestep_embedding/out(\d+)", name):
        return embeddings.sinusoid(jnp.asarray(found["timestep_embedding/t"]), int(match[1]))
    if match := re.fullmatch(r"pos_embed/h(\d+)_w(\d+)_res(\d+)x(\d+)", name):
        rows, columns, height, width = map(int, match.groups())
        return _position(rows, columns, found[name].shape[-1], float(height), float(width))[None]
    if match := re.fullmatch(r"(rope\w*)/out", name):
        x = jnp.asarray(found[f"{match[1]}/in"]).swapaxes(1, 2)
        at = jnp.arange(x.shape[1], dtype=jnp.float32)
        return rope.rotate(x, rope.rotation(at, rope.frequencies(x.shape[-1]))).swapaxes(1, 2)
    if match := re.fullmatch(r"(rope\w*)/freqs", name):
        return rope.frequencies(2 * found[name].shape[0])
    if match := re.fullmatch(r"norm/([a-z]+)(\d*)_eps(1e-\d)_(.*)", name):
        kind, groups, eps, size = match.groups()
        x = jnp.asarray(found[f"norm/in_{size}"])
        if kind == "rms":
            return norms.RMSNorm(x.shape[-1], float(eps))(x)
        if kind == "layernorm":
            return norms.layer_norm(x, float(eps))
        pair = jnp.stack([x, 0.5 * x], axis=1)  # the dump's input has two positions
        return GroupNorm(int(groups), x.shape[-1], float(eps))(pair).swapaxes(1, 2)
    return None
