"""T5 v1.1's encoder and CLIP's text model."""

import pathlib
from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from vidact.interop import networks
from vidact.interop.parity import cases as dumps
from vidact.interop.parity.cases import Case, compare

TOLERANCE = 1e-4


def t5_cases(folder: pathlib.Path) -> Iterator[Case]:
    """Hidden states with and without a mask, of the folder t5_encoder."""
    folder = folder / "t5_encoder"
    if not folder.is_dir():
        return
    model, io = _opened("t5", folder)
    for name, mask in _masks(io).items():
        found = jax.jit(lambda m, ids, mask: m(ids, mask))(model, io["input_ids"], mask)
        yield compare(f"t5_encoder {name}", found, io[f"out_{name}"], TOLERANCE)


def clip_cases(folder: pathlib.Path) -> Iterator[Case]:
    """Hidden and pooled states with and without a mask, of the folder clip_text."""
    folder = folder / "clip_text"
    if not folder.is_dir():
        return
    model, io = _opened("clip", folder)
    for name, mask in _masks(io).items():
        last, pooled = jax.jit(lambda m, ids, mask: m(ids, mask))(model, io["input_ids"], mask)
        yield compare(f"clip_text last {name}", last, io[f"last_{name}"], TOLERANCE)
        yield compare(f"clip_text pooled {name}", pooled, io[f"pooled_{name}"], TOLERANCE)


def _opened(name: str, folder: pathlib.Path):
    """The model with the folder's weights, and its inputs and outputs."""
    kind = networks.KINDS[name]
    tensors = dumps.tensors(folder / "params.safetensors")
    called = {old: kind.rename(old) for old in tensors}
    named = {new: tensors[old] for old, new in called.items() if new is not None}
    shapes = {name: array.shape for name, array in named.items()}
    model = kind.build(kind.sizes(shapes, folder)).load(named)
    io = dumps.arrays(folder / "io.npz")
    return model, io | {"input_ids": io["input_ids"].astype(np.int32)}


def _masks(io: Mapping[str, np.ndarray]) -> dict[str, jax.Array | None]:
    return {"masked": jnp.asarray(io["attention_mask"] != 0), "unmasked": None}
