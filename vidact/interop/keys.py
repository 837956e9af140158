"""The names of CoVAR's weights: JAX paths here, PyTorch names in files.

The video branch goes by the names of Open-Sora 1.2's STDiT3 (specs/opensora.md 1.10) behind the
prefix `video.`; everything else mirrors the attributes of the JAX modules. A stacked JAX array
becomes one tensor per layer, and a kernel [in, out] becomes a weight [out, in].
"""

import dataclasses
import re
from collections.abc import Mapping

import numpy as np

from vidact.errors import UserError
from vidact.nn.rope import THETA

Shape = tuple[int, ...]
PREFIX = "video."
FREQUENCIES = "video.rope.freqs"  # stored by STDiT3, computed here
_HEAD = "video/temporal_blocks/attn/q_norm/weight"  # as wide as an attention head
_STACKED = re.compile(r"^(video/spatial_blocks|video/temporal_blocks|action/blocks|bridges)/")
_RENAMES = (
    (re.compile(r"^y_embedding$"), "video/y_embedder/y_embedding"),
    (re.compile(r"^video/y_proj/"), "video/y_embedder/y_proj/"),
    (re.compile(r"^video/x_embedder/"), "video/x_embedder/proj/"),
    (re.compile(r"^(video|action)/time/"), r"\1/"),
    (re.compile(r"/t_block/"), "/t_block/1/"),
    (re.compile(r"_embedder/mlp_(\d)/"), r"_embedder/mlp/\1/"),
    (re.compile(r"/kernel$"), "/weight"),
)


@dataclasses.dataclass(frozen=True)
class Place:
    """One tensor of a file and where it lives in JAX.

    Attributes:
      name: the tensor's name.
      shape: its shape.
      path: the JAX parameter's path, a/b/c.
      layer: the index into that parameter's first axis where layers are stacked, else None.
      kernel: whether the JAX side is an affine map [in, out].
    """

    name: str
    shape: Shape
    path: str
    layer: int | None
    kernel: bool

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        """The tensor of this parameter (stack)."""
        array = array if self.layer is None else array[self.layer]
        array = array.T if self.kernel else array
        return np.ascontiguousarray(array.reshape(self.shape))

    def to_jax(self, tensor: np.ndarray) -> np.ndarray:
        """This layer's part of the JAX parameter."""
        return tensor.reshape(len(tensor), -1).T if self.kernel else tensor


def places(shapes: Mapping[str, Shape], patch: int) -> list[Place]:
    """Every tensor that belongs to JAX parameters of these shapes.

    Args:
      shapes: path -> shape; of a whole CoVAR, or of its video branch (`video/...`, `y_embedding`).
      patch: latent pixels per token side.
    """
    return [place for path, shape in shapes.items() for place in _of(path, tuple(shape), patch)]


def to_torch(parameters: Mapping[str, np.ndarray], patch: int) -> dict[str, np.ndarray]:
    """The tensors of a file, float32, by name.

    Args:
      parameters: path -> array, see `places`.
      patch: latent pixels per token side.
    """
    shapes = {path: array.shape for path, array in parameters.items()}
    arrays = {path: np.asarray(array, np.float32) for path, array in parameters.items()}
    tensors = {p.name: p.to_torch(arrays[p.path]) for p in places(shapes, patch)}
    return {FREQUENCIES: _frequencies(shapes), **tensors}


def to_jax(
    tensors: Mapping[str, np.ndarray], shapes: Mapping[str, Shape], patch: int
) -> dict[str, np.ndarray]:
    """The inverse of `to_torch`.

    Args:
      tensors: name -> array.
      shapes: path -> shape of the model to fill.
      patch: latent pixels per token side.

    Raises:
      UserError: a tensor is missing, unexpected or misshapen (all of them are named), or the
        rotary frequencies are not those that the model computes.
    """
    wanted, frequencies = places(shapes, patch), _frequencies(shapes)
    expected = {FREQUENCIES: frequencies.shape, **{p.name: p.shape for p in wanted}}
    check_names({name: tensor.shape for name, tensor in tensors.items()}, expected)
    if not np.allclose(tensors[FREQUENCIES], frequencies, rtol=1e-5, atol=0):
        raise UserError(
            f"{FREQUENCIES}: not 10000^(-2i/d), which this model computes; "
            "take weights of STDiT3 stored in float32"
        )
    parts: dict[str, list[np.ndarray]] = {}
    for place in wanted:
        parts.setdefault(place.path, []).append(place.to_jax(tensors[place.name]))
    return {
        path: np.stack(found) if _STACKED.match(path) else found[0] for path, found in parts.items()
    }


def check_names(found: Mapping[str, Shape], expected: Mapping[str, Shape]) -> None:
    """Compares names and shapes.

    Raises:
      UserError: lists everything that is missing, unexpected or misshapen.
    """
    shapes = {n: (tuple(found[n]), tuple(expected[n])) for n in found.keys() & expected.keys()}
    complaints = {
        "missing": sorted(expected.keys() - found.keys()),
        "unexpected": sorted(found.keys() - expected.keys()),
        "misshapen": [
            f"{name} {has} instead of {wants}"
            for name, (has, wants) in sorted(shapes.items())
            if has != wants
        ],
    }
    told = [f"{what}: {', '.join(names)}" for what, names in complaints.items() if names]
    if told:
        raise UserError(f"weights: {'; '.join(told)}; take a file of a model of these sizes")


def _of(path: str, shape: Shape, patch: int) -> list[Place]:
    """The tensors of one parameter."""
    kernel, name = path.endswith("/kernel"), path
    for pattern, replacement in _RENAMES:
        name = pattern.sub(replacement, name)
    stack = _STACKED.match(path)
    one = shape[1:] if stack else shape
    if kernel:
        one = one[::-1]
    if path == "video/x_embedder/kernel":  # a convolution whose stride is its size
        one = (one[0], one[1] // patch**2, 1, patch, patch)
    dotted = name.replace("/", ".")
    if not stack:
        return [Place(dotted, one, path, None, kernel)]
    head = stack.end() - 1
    names = [f"{dotted[:head]}.{i}{dotted[head:]}" for i in range(shape[0])]
    return [Place(n, one, path, i, kernel) for i, n in enumerate(names)]


def _frequencies(shapes: Mapping[str, Shape]) -> np.ndarray:
    head_dim = shapes[_HEAD][-1]
    pairs = np.arange(0, head_dim, 2, dtype=np.float32)
    return (THETA ** (-pairs / head_dim)).astype(np.float32)
