"""The networks whose published weights vidact reads and writes: one row each.

A network's sizes are read from the weights' own shapes or from the `config.json` beside them, so
that small versions of it pass through the same code as the released ones.
"""

import dataclasses
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from vidact.encoders import frozen
from vidact.encoders.text.sizes import CLIPSizes, T5Sizes
from vidact.encoders.text.tokenizers import read_json
from vidact.encoders.video import opensora_vae
from vidact.errors import UserError
from vidact.interop import keys, names, text_keys, vae_keys
from vidact.interop.names import Layout, Shape
from vidact.models.covar.config import CoVARConfig
from vidact.models.covar.video_dit import VideoDiT
from vidact.nn import flat, layers

Sizes = dict[str, Any]
Shapes = Mapping[str, Shape]


@dataclasses.dataclass(frozen=True)
class Network:
    """A network of given sizes.

    Attributes:
      layout: JAX paths to tensor names.
      plan: the module without its arrays.
    """

    layout: Layout
    plan: flat.Blueprint

    @property
    def shapes(self) -> dict[str, Shape]:
        """Of its JAX parameters, by path."""
        return {path: leaf.shape for path, leaf in self.plan.shapes.items()}

    @property
    def places(self) -> list[names.Place]:
        """Every tensor of its file."""
        return names.places(self.layout, self.shapes)

    def load(self, tensors: Mapping[str, np.ndarray]) -> Any:
        """The module with these tensors in float32, named as in the layout.

        Raises:
          UserError: a name is missing, unexpected or misshapen.
        """
        arrays = names.to_jax(self.layout, tensors, self.shapes)
        return self.plan.assemble({k: jnp.asarray(v, jnp.float32) for k, v in arrays.items()})


@dataclasses.dataclass(frozen=True)
class Kind:
    """How the weights of one kind of network are recognised.

    Attributes:
      sizes: from tensors' shapes and the folder they lie in to sizes that JSON can hold.
      make: from these sizes to a module with random weights.
      layout: from these sizes to the names of its weights.
      rename: from a name in the file to the layout's, or None for what is not the network's.
    """

    sizes: Callable[[Shapes, pathlib.Path], Sizes]
    make: Callable[[Sizes], nnx.Module]
    layout: Callable[[Sizes], Layout]
    rename: Callable[[str], str | None] = lambda name: name

    def build(self, sizes: Sizes) -> Network:
        """The network of these sizes; nothing is allocated."""
        return Network(self.layout(sizes), flat.blueprint(lambda: self.make(sizes)))


class STDiT3(nnx.Module):
    """Open-Sora 1.2's STDiT3 (specs/opensora.md 1), its attributes where a CoVAR has them."""

    def __init__(self, config: CoVARConfig):
        self.video = VideoDiT(config, rngs=nnx.Rngs(0))
        self.y_embedding = layers.Buffer(jnp.zeros((config.max_words, config.text_width)))


_STDIT3_XL2 = dict(
    depth=28,
    video_width=1152,
    video_heads=16,
    mlp_ratio=4.0,
    patch=2,
    latent_channels=4,
    text_width=4096,
    max_words=300,
    learn_sigma=True,
)


def stdit3_sizes(found: Shapes, _: pathlib.Path) -> Sizes:
    """Sizes as the tensors tell them; where one is missing, those of STDiT3-XL/2."""
    sizes = dict(_STDIT3_XL2)
    patches = found.get("x_embedder.proj.weight", ())
    if len(patches) == 5:
        width, channels, patch = patches[0], patches[1], patches[4]
        sizes |= dict(video_width=width, latent_channels=channels, patch=patch)
        out = found.get("final_layer.linear.weight", (0,))[0]
        sizes["learn_sigma"] = out != channels * patch**2
        head = found.get("spatial_blocks.0.attn.q_norm.weight", (0,))[0]
        if head and width % head == 0:
            sizes["video_heads"] = width // head
        sizes["mlp_ratio"] = found.get("spatial_blocks.0.mlp.fc1.weight", (4 * width,))[0] / width
    null = found.get("y_embedder.y_embedding", ())
    if len(null) == 2:
        sizes |= dict(max_words=null[0], text_width=null[1])
    blocks = [re.match(r"spatial_blocks\.(\d+)\.", name) for name in found]
    if any(blocks):
        sizes["depth"] = 1 + max(int(block[1]) for block in blocks if block)
    return sizes


def _full_vae(*_) -> Sizes:
    """There is one OpenSora-VAE-v1.2."""
    full = opensora_vae.FULL
    return {"spatial": _asdict(full.spatial), "temporal": _asdict(full.temporal)}


def kl_sizes(path: pathlib.Path) -> Sizes:
    """An image autoencoder's `config.json` as diffusers writes it.

    Raises:
      UserError: it is missing, damaged, or that of another network.
    """
    found = read_json(path)
    try:
        return dict(
            channels=tuple(found["block_out_channels"]),
            layers=found["layers_per_block"],
            groups=found["norm_num_groups"],
            latent_channels=found["latent_channels"],
            pixel_channels=found["in_channels"],
            quant_convs=found.get("use_quant_conv", True),
        )
    except KeyError as error:
        raise UserError(f"{path}: has no {error}; take the one of an AutoencoderKL") from error


def _asdict(sizes) -> Sizes:
    return dataclasses.asdict(sizes)


def _maker(kind: str) -> Callable[[Sizes], nnx.Module]:
    return lambda sizes: frozen.make(kind, sizes)


KINDS: dict[str, Kind] = {
    "opensora-stdit3": Kind(
        stdit3_sizes,
        lambda sizes: STDiT3(CoVARConfig(**sizes)),
        lambda sizes: keys.stdit3(sizes["patch"]),
    ),
    "opensora-vae": Kind(_full_vae, _maker("opensora-vae"), lambda _: vae_keys.OPENSORA),
    "sd-vae": Kind(
        lambda _, folder: kl_sizes(folder / "config.json"),
        _maker("sd-vae"),
        lambda _: vae_keys.KL,
    ),
    "t5": Kind(
        lambda _, folder: _asdict(T5Sizes.from_json(folder / "config.json")),
        _maker("t5"),
        lambda _: text_keys.T5,
        text_keys.t5_name,
    ),
    "clip": Kind(
        lambda _, folder: _asdict(CLIPSizes.from_json(folder / "config.json")),
        _maker("clip"),
        lambda _: text_keys.CLIP,
        text_keys.clip_name,
    ),
}
