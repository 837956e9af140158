"""The names of weights: JAX paths here, PyTorch names in files, and the layouts on both sides.

A JAX path a/b/0/kernel is the tensor a.b.0.weight. An affine kernel [in, out] becomes a weight
[out, in], a convolution's [*k, in, out] becomes [out, in, *k], and a stack of layers becomes one
tensor per layer. What differs from that stands in a network's `Layout`.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping

import numpy as np

from vidact import store
from vidact.store import Shape

_LAYER = "#"


@dataclasses.dataclass(frozen=True)
class Layout:
    """How one network's weights are called in a file.

    Attributes:
      renames: (pattern, replacement), applied to a path one after the other.
      stacked: matches the beginning of paths, up to the slash, whose first axis counts layers.
      reshape: from a path and its tensor's shape to the shape in the file.
    """

    renames: tuple[tuple[str, str], ...] = ()
    stacked: str | None = None
    reshape: Callable[[str, Shape], Shape] = lambda _, shape: shape


@dataclasses.dataclass(frozen=True)
class Place:
    """One tensor of a file and where it lives in JAX.

    Attributes:
      name: the tensor's name.
      shape: its shape.
      path: the JAX parameter's path, a/b/c.
      layer: the index into that parameter's first axis where layers are stacked, else None.
      turned: the tensor's shape before the layout's reshape: [out, in, *k] for a kernel.
    """

    name: str
    shape: Shape
    path: str
    layer: int | None
    turned: Shape

    @property
    def kernel(self) -> bool:
        """Whether the JAX side is [*k, in, out]."""
        return self.path.endswith("/kernel")

    def part(self, array: np.ndarray) -> np.ndarray:
        """This layer's part of a whole JAX parameter."""
        return array if self.layer is None else array[self.layer]

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        """The tensor of this layer's part of the parameter."""
        if self.kernel:
            array = np.moveaxis(array, (-1, -2), (0, 1))
        return np.ascontiguousarray(array.reshape(self.shape))

    def to_jax(self, tensor: np.ndarray) -> np.ndarray:
        """This layer's part of the JAX parameter."""
        tensor = tensor.reshape(self.turned)
        return np.moveaxis(tensor, (0, 1), (-1, -2)) if self.kernel else tensor


def places(layout: Layout, shapes: Mapping[str, Shape]) -> list[Place]:
    """Every tensor that belongs to JAX parameters of these shapes (path -> shape)."""
    return [place for path, shape in shapes.items() for place in _of(layout, path, tuple(shape))]


def to_torch(layout: Layout, parameters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors of a file by name; `parameters` maps paths to arrays."""
    wanted = places(layout, {path: array.shape for path, array in parameters.items()})
    return {place.name: place.to_torch(place.part(parameters[place.path])) for place in wanted}


def to_jax(
    layout: Layout, tensors: Mapping[str, np.ndarray], shapes: Mapping[str, Shape]
) -> dict[str, np.ndarray]:
    """The inverse of `to_torch`; `shapes` are those of the model to fill.

    Raises:
      UserError: a tensor is missing, unexpected or misshapen; all of them are named.
    """
    wanted = places(layout, shapes)
    store.check_names({n: t.shape for n, t in tensors.items()}, {p.name: p.shape for p in wanted})
    parts: dict[str, list[np.ndarray]] = {}
    for place in wanted:
        parts.setdefault(place.path, []).append(place.to_jax(tensors[place.name]))
    layered = {place.path for place in wanted if place.layer is not None}
    return {path: np.stack(p) if path in layered else p[0] for path, p in parts.items()}


def _of(layout: Layout, path: str, shape: Shape) -> list[Place]:
    """The tensors of one parameter."""
    stack = re.match(layout.stacked, path) if layout.stacked else None
    one = shape[1:] if stack else shape
    if path.endswith("/kernel"):
        one = (one[-1], one[-2], *one[:-2])
    outside = layout.reshape(path, one)
    # The layer's number takes its place before the renaming, which may change what stands before.
    name = f"{path[: stack.end()]}{_LAYER}/{path[stack.end() :]}" if stack else path
    for pattern, replacement in (*layout.renames, ("/kernel$", "/weight")):
        name = re.sub(pattern, replacement, name)
    name = name.replace("/", ".")
    if not stack:
        return [Place(name, outside, path, None, one)]
    names = [name.replace(_LAYER, str(i)) for i in range(shape[0])]
    return [Place(n, outside, path, i, one) for i, n in enumerate(names)]
