"""Modules as flat dictionaries of arrays by path, and back."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from vidact.nn import layers

# By path: arrays, or in their place shapes or shardings, as JAX's tree functions put them there.
Parameters = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Blueprint:
    """A model without its arrays: how to put a flat dictionary of parameters back into it.

    Attributes:
      graphdef, treedef: what is not an array.
      shapes: of parameters and buffers, by path.
      buffers: the paths of those that never train (`vidact.nn.layers.Buffer`).
    """

    graphdef: nnx.GraphDef
    treedef: Any
    shapes: dict[str, jax.ShapeDtypeStruct]
    buffers: frozenset[str]

    def assemble(self, parameters: Parameters) -> Any:
        """The model with these parameters.

        Raises:
          KeyError: one is missing.
        """
        leaves = [parameters[path] for path in self.shapes]
        return nnx.merge(self.graphdef, jax.tree.unflatten(self.treedef, leaves))


def blueprint(make: Callable[[], nnx.Module]) -> Blueprint:
    """The blueprint of the model that `make` builds; nothing is allocated."""
    graphdef, state = nnx.split(nnx.eval_shape(make))
    leaves, treedef = jax.tree.flatten_with_path(state)
    shapes = {_name(path): leaf for path, leaf in leaves}
    return Blueprint(graphdef, treedef, shapes, buffers(state))


def buffers(state: nnx.State) -> frozenset[str]:
    """The paths of a model's state that never train."""
    leaves, _ = jax.tree.flatten_with_path(nnx.filter_state(state, layers.Buffer))
    return frozenset(_name(path) for path, _ in leaves)


def parameters(model: nnx.Module) -> Parameters:
    """Flat {path: array} of a model's parameters, in the order of its blueprint."""
    leaves, _ = jax.tree.flatten_with_path(nnx.state(model))
    return {_name(path): leaf for path, leaf in leaves}


def _name(path) -> str:
    """A tree path as a/b/0/c."""
    parts = [getattr(k, "key", getattr(k, "name", getattr(k, "idx", None))) for k in path]
    return "/".join(str(p) for p in parts if p is not None and p != "value")
