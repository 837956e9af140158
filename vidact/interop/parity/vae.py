"""The video autoencoder of Open-Sora 1.2, and image autoencoders (specs/opensora.md 3, 9)."""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vidact.encoders.video.kl_vae import AutoencoderKL
from vidact.encoders.video.opensora_vae import SPATIAL_SCALE, OpenSoraVAE
from vidact.encoders.video.temporal_vae import TemporalVAE
from vidact.interop import networks
from vidact.interop.parity import cases as dumps
from vidact.interop.parity.cases import Case, compare

TOLERANCE = 5e-5
PIPELINE = networks.KINDS["opensora-vae"]
IMAGE = networks.KINDS["sd-vae"]


def cases(folder: pathlib.Path) -> Iterator[Case]:
    """Both halves and the whole of every Open-Sora VAE in the folder."""
    for path in sorted(folder.glob("*_config.json")):
        config = dumps.settings(path)
        if not {"spatial", "temporal"} <= config.keys():
            continue  # of another network
        stem = path.name.removesuffix("_config.json")
        tensors = dumps.tensors(folder / f"{stem}.safetensors")
        model = PIPELINE.build(sizes(config)).load(tensors)
        io = dumps.arrays(folder / f"{stem}_io.npz")
        yield from _temporal(stem, model.temporal_vae, io)
        yield from _spatial(stem, model.spatial_vae, io)
        yield from _pipeline(stem, model, io)


def sizes(config: Mapping[str, Any]) -> networks.Sizes:
    """Ours, from the arguments of both autoencoders' constructors."""
    spatial, temporal = config["spatial"], config["temporal"]
    return {
        "spatial": dict(
            channels=spatial["block_out_channels"],
            layers=spatial["layers_per_block"],
            groups=spatial["norm_num_groups"],
            latent_channels=spatial["latent_channels"],
            pixel_channels=spatial["in_channels"],
        ),
        "temporal": dict(
            filters=temporal["filters"],
            res_blocks=temporal["num_res_blocks"],
            multipliers=temporal["channel_multipliers"],
            halvings=temporal["temporal_downsample"],
            groups=temporal["num_groups"],
            channels=temporal["in_out_channels"],
        ),
        # The reference pads no pixels.
        "multiple": 2 ** (len(spatial["block_out_channels"]) - 1),
    }


def _temporal(stem: str, model: TemporalVAE, io: Mapping[str, np.ndarray]) -> Iterator[Case]:
    for case in dumps.folders(io, "/moments"):
        if not case.startswith("temporal/"):
            continue
        given = {k: _last(v) for k, v in dumps.under(io, f"{case}/").items() if "/" not in k}
        found = jax.jit(TemporalVAE.moments)(model, given["x"])
        yield compare(f"{stem} {case} encode", found, given["moments"], TOLERANCE)
        decode = jax.jit(TemporalVAE.decode, static_argnums=2)
        found = decode(model, given["z"], given["x"].shape[1])
        yield compare(f"{stem} {case} decode", found, given["decoded"], TOLERANCE)


def _spatial(stem: str, model: AutoencoderKL, io: Mapping[str, np.ndarray]) -> Iterator[Case]:
    if "spatial/x" not in io:
        return
    frames = _last(io["spatial/x"])
    moments = jax.jit(AutoencoderKL.moments)(model, frames.reshape(-1, *frames.shape[2:]))
    yield compare(f"{stem} spatial encode", moments, _last(io["spatial/moments"]), TOLERANCE)
    z = _last(io["spatial/z"]) / SPATIAL_SCALE
    pixels = jax.jit(AutoencoderKL.decode)(model, z.reshape(-1, *z.shape[2:]))
    wanted = _last(io["spatial/decode"])
    yield compare(f"{stem} spatial decode", pixels.reshape(wanted.shape), wanted, TOLERANCE)


def _pipeline(stem: str, model: OpenSoraVAE, io: Mapping[str, np.ndarray]) -> Iterator[Case]:
    for case in dumps.folders(io, "/z_mode"):
        given = {k: _last(v) for k, v in dumps.under(io, f"{case}/").items()}
        found = jax.jit(OpenSoraVAE.encode)(model, given["x"])
        yield compare(f"{stem} {case} encode", found, given["z_mode"], TOLERANCE)
        decode = jax.jit(OpenSoraVAE.decode, static_argnums=2)
        found = decode(model, given["z_in"], given["x"].shape[1])
        yield compare(f"{stem} {case} decode", found, given["decoded"], TOLERANCE)


def image_cases(folder: pathlib.Path) -> Iterator[Case]:
    """Both halves of the AutoencoderKL in the folder sd_vae2d."""
    folder = folder / "sd_vae2d"
    if not folder.is_dir():
        return
    tensors = dumps.tensors(folder / "params.safetensors")
    model = IMAGE.build(networks.kl_sizes(folder / "config.json")).load(tensors)
    io = {name: _last(array) for name, array in dumps.arrays(folder / "io.npz").items()}
    found = jax.jit(AutoencoderKL.moments)(model, io["x"])
    yield compare("sd_vae2d encode", found, io["moments"], TOLERANCE)
    mean = jnp.split(io["moments"], 2, axis=-1)[0]
    found = jax.jit(AutoencoderKL.decode)(model, mean)
    yield compare("sd_vae2d decode", found, io["decoded_mean"], TOLERANCE)


def _last(x: np.ndarray):
    return jnp.asarray(dumps.channels_last(x))
