"""Low-rank adaptation of affine layers (LoRA, 2106.09685): W + A B alpha / r, where W is frozen."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from vidact.nn.flat import Parameters
from vidact.nn.linear import Linear

FACTORS = ("lora_a", "lora_b")


def add(module: nnx.Module, rank: int, alpha: float, rngs: nnx.Rngs) -> None:
    """Gives every `Linear` of a module factors A [*layers, in, r] and B [*layers, r, out], float32.

    A is Gaussian of variance 1 / in and B is zero, so that nothing changes at first (section 4.1).

    Args:
      module: changed in place; its layers may be stacked (`vidact.nn.layers.stack`).
      rank: r, at least 1.
      alpha: the product's scale is alpha / r.
      rngs: drawn from once per layer.
    """
    for _, layer in nnx.iter_modules(module):
        if isinstance(layer, Linear):
            *layers, width, out = layer.kernel[...].shape
            a = jax.random.normal(rngs.params(), (*layers, width, rank), jnp.float32)
            layer.lora_a = nnx.data(nnx.Param(a / width**0.5))
            layer.lora_b = nnx.data(nnx.Param(jnp.zeros((*layers, rank, out), jnp.float32)))
            layer.lora_scale = alpha / rank


def is_factor(path: str) -> bool:
    """Whether a parameter's path is that of a factor."""
    return path.endswith(FACTORS)


def merged(parameters: Parameters, alpha: float) -> dict[str, np.ndarray]:
    """The same function without factors: they are folded into their kernels, all in float32.

    Args:
      parameters: by path, with or without factors.
      alpha: as `add` was given it.
    """
    arrays = {path: np.asarray(value, np.float32) for path, value in parameters.items()}
    result = {path: value for path, value in arrays.items() if not is_factor(path)}
    for layer in [path.removesuffix("lora_a") for path in arrays if path.endswith("lora_a")]:
        a, b = (arrays[layer + name] for name in FACTORS)
        result[layer + "kernel"] = result[layer + "kernel"] + a @ b * (alpha / a.shape[-1])
    return result
