"""Which pixel frames a video codec's latents cover. NumPy only."""

import numpy as np
from jaxtyping import Int


def spans(frames: int, factor: int, chunk: int = 0) -> Int[np.ndarray, "n 2"]:
    """The first and the last frame that each latent of a clip covers.

    A codec cuts a clip into chunks that know nothing of each other. Within one, latents cover
    `factor` frames each, counted from its end; the first covers what is left (specs/opensora.md 3).

    Args:
      frames: T of the clip, at least 1.
      factor: frames per latent.
      chunk: frames coded together; 0 = the whole clip.

    Returns:
      [[0, 0], [1, 4], ...] for factor 4.
    """
    size = chunk or frames
    found = []
    for begin in range(0, frames, size):
        length = min(size, frames - begin)
        lasts = np.arange(length - 1, -1, -factor)[::-1] + begin
        firsts = np.concatenate([[begin], lasts[:-1] + 1])
        found.append(np.stack([firsts, lasts], axis=1))
    return np.concatenate(found)
