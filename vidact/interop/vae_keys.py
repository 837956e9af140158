"""The names of the frozen autoencoders' weights in files.

Both sides go by the same names but for `module`, which Open-Sora's wrapper of the image
autoencoder puts in between (specs/opensora.md 8).
"""

from vidact.interop.names import Layout, Shape


def _reshape(path: str, shape: Shape) -> Shape:
    """Open-Sora keeps its per-channel buffers ready for [b, c, t, h, w]."""
    return (1, *shape, 1, 1, 1) if path in ("scale", "shift") else shape


KL = Layout()
OPENSORA = Layout(renames=(("^spatial_vae/", "spatial_vae/module/"),), reshape=_reshape)
