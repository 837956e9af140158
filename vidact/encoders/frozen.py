"""Frozen networks from the folders that `vidact.interop.import_weights` writes."""

import hashlib
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from vidact import store
from vidact.encoders.text import clip, t5
from vidact.encoders.text.sizes import CLIPSizes, T5Sizes
from vidact.encoders.video import kl_vae, opensora_vae, temporal_vae
from vidact.errors import UserError
from vidact.nn import flat

Sizes = Mapping[str, Any]


def make(kind: str, sizes: Sizes, dtype: str = "float32") -> nnx.Module:
    """A network of `MAKERS` with random weights.

    Args:
      kind: as `import_weights --from` calls it.
      sizes: as network.json holds them.
      dtype: of the computation, float32 or bfloat16.
    """
    return MAKERS[kind](sizes, dtype)


def load(folder: str | pathlib.Path, kind: str, dtype: str = "float32") -> nnx.Module:
    """The network that was imported to `folder`.

    Args:
      folder: holds network.json and safetensors.
      kind: which network it has to be.
      dtype: of the computation; with bfloat16 kernels and embeddings are kept in it too.

    Raises:
      UserError: the folder holds another network, or is damaged.
    """
    folder = pathlib.Path(folder)
    told = store.read_description(folder)
    if told["network"] != kind:
        raise UserError(f"{folder}: holds {told['network']}, not {kind}; give the folder of one")
    plan = flat.blueprint(lambda: make(kind, told["sizes"], dtype))
    with store.reader(folder) as found:
        store.check_names(found.shapes, {path: leaf.shape for path, leaf in plan.shapes.items()})
        kept = {
            path: jnp.asarray(found.get(path), _dtype(path, plan, dtype)) for path in plan.shapes
        }
    return plan.assemble(kept)


def shapes(kind: str, sizes: Sizes, dtype: str = "float32") -> nnx.Module:
    """A network as `load` gives it, with `jax.ShapeDtypeStruct` in place of its arrays."""
    plan = flat.blueprint(lambda: make(kind, sizes, dtype))
    return plan.assemble(
        {
            path: jax.ShapeDtypeStruct(leaf.shape, _dtype(path, plan, dtype))
            for path, leaf in plan.shapes.items()
        }
    )


def identity(folder: str | pathlib.Path) -> str:
    """SHA-256 of network.json, which holds every tensor's checksum: names these weights anywhere.

    Raises:
      UserError: the folder is no imported network.
    """
    folder = pathlib.Path(folder)
    store.read_description(folder)
    return hashlib.sha256((folder / store.DESCRIPTION).read_bytes()).hexdigest()


def _dtype(path: str, plan: flat.Blueprint, dtype: str) -> jnp.dtype:
    """Norms, biases and buffers stay float32: they are small, and precision shows there."""
    large = path.endswith(("/kernel", "shared")) and path not in plan.buffers
    return jnp.dtype(dtype if large else "float32")


def _vae(sizes: Sizes, dtype: str) -> nnx.Module:
    spatial, temporal = (_tuples(sizes[name]) for name in ("spatial", "temporal"))
    config = opensora_vae.OpenSoraVAEConfig(
        kl_vae.KLConfig(**spatial),
        temporal_vae.TemporalConfig(**temporal),
        multiple=sizes.get("multiple", opensora_vae.FULL.multiple),
        dtype=dtype,
    )
    return opensora_vae.OpenSoraVAE(config, rngs=nnx.Rngs(0))


def _image_vae(sizes: Sizes, dtype: str) -> nnx.Module:
    config = kl_vae.KLConfig(**_tuples(sizes))
    return kl_vae.AutoencoderKL(config, rngs=nnx.Rngs(0), dtype=jnp.dtype(dtype))


def _t5(sizes: Sizes, dtype: str) -> nnx.Module:
    return t5.T5Encoder(T5Sizes(**sizes), rngs=nnx.Rngs(0), dtype=jnp.dtype(dtype))


def _clip(sizes: Sizes, dtype: str) -> nnx.Module:
    return clip.CLIPText(CLIPSizes(**sizes), rngs=nnx.Rngs(0), dtype=jnp.dtype(dtype))


def _tuples(sizes: Sizes) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in sizes.items()}


MAKERS: dict[str, Callable[[Sizes, str], nnx.Module]] = {
    "opensora-vae": _vae,
    "sd-vae": _image_vae,
    "t5": _t5,
    "clip": _clip,
}
