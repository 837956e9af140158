"""The names of CoVAR's weights in files.

The video branch goes by the names of Open-Sora 1.2's STDiT3 (specs/opensora.md 1.10) behind the
prefix `video.`; everything else mirrors the attributes of the JAX modules.
"""

import dataclasses

from vidact.interop.names import Layout, Shape

PREFIX = "video."


def covar(patch: int) -> Layout:
    """The layout of a whole CoVAR, or of its video branch (`video/...`, `y_embedding`).

    Args:
      patch: latent pixels per token side.
    """

    def reshape(path: str, shape: Shape) -> Shape:
        if path == "video/x_embedder/kernel":  # a convolution whose stride is its size
            return (shape[0], shape[1] // patch**2, 1, patch, patch)
        return shape

    return Layout(
        renames=(
            ("^y_embedding$", "video/y_embedder/y_embedding"),
            ("^video/y_proj/", "video/y_embedder/y_proj/"),
            ("^video/x_embedder/", "video/x_embedder/proj/"),
            ("^(video|action)/time/", r"\1/"),
            ("/t_block/", "/t_block/1/"),
            (r"_embedder/mlp_(\d)/", r"_embedder/mlp/\1/"),
        ),
        stacked="^(video/spatial_blocks|video/temporal_blocks|action/blocks|bridges)/",
        reshape=reshape,
    )


def stdit3(patch: int) -> Layout:
    """The layout of CoVAR's video branch alone, under STDiT3's own names.

    Args:
      patch: latent pixels per token side.
    """
    whole = covar(patch)
    return dataclasses.replace(whole, renames=(*whole.renames, (f"^{PREFIX[:-1]}/", "")))
