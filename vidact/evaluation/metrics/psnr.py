"""PSNR of 8-bit video, and what a generated clip gains over a first frame that is held still.

Every value is per clip, in dB, from the mean squared error over all valid frames of that clip.
Clips are compared from their second frame on, for the first one is given to the model.
"""

import numpy as np
from jaxtyping import Bool, Float, UInt8

MOVED = 10
"""A pixel moves where truth differs from its first frame by more than 10 / 255 in any channel."""


def psnr(
    video: UInt8[np.ndarray, "B T H W 3"],
    truth: UInt8[np.ndarray, "B T H W 3"],
    pixels: Bool[np.ndarray, "B T H W"],
) -> Float[np.ndarray, " B"]:
    """Peak signal-to-noise ratio of each clip: 10 log10(255^2 / mean squared error).

    Args:
      video: what is judged.
      truth: what it should be.
      pixels: which pixels count; see `valid` and `moving`.

    Returns:
      float64; inf where the clips agree, NaN where no pixel counts.
    """
    return np.array([_psnr(v, x, m) for v, x, m in zip(video, truth, pixels, strict=True)])


def psnr_gain(
    generated: UInt8[np.ndarray, "B T H W 3"],
    truth: UInt8[np.ndarray, "B T H W 3"],
    still: UInt8[np.ndarray, "B H W 3"],
    pixels: Bool[np.ndarray, "B T H W"],
) -> Float[np.ndarray, " B"]:
    """PSNR of the generated later frames minus that of one frame held still, dB.

    Args:
      generated: the model's clip.
      truth: the recorded clip.
      still: the frame to hold: for the whole frame the codec's own reconstruction of the first one,
        so that the codec's loss counts for both sides; for moving pixels the true first frame.
      pixels: which pixels count; the first frame's never do.

    Returns:
      float64; NaN where no pixel counts.
    """
    held = np.broadcast_to(still[:, None], truth.shape)[:, 1:]
    later = pixels[:, 1:]
    return psnr(generated[:, 1:], truth[:, 1:], later) - psnr(held, truth[:, 1:], later)


def valid(
    truth: UInt8[np.ndarray, "B T H W 3"], frame_mask: Bool[np.ndarray, "B T"]
) -> Bool[np.ndarray, "B T H W"]:
    """All pixels of the frames that are no padding."""
    return np.broadcast_to(frame_mask[:, :, None, None], truth.shape[:-1])


def moving(
    truth: UInt8[np.ndarray, "B T H W 3"], frame_mask: Bool[np.ndarray, "B T"]
) -> Bool[np.ndarray, "B T H W"]:
    """The valid pixels in which truth has moved away from its first frame by more than MOVED."""
    change = np.abs(truth.astype(np.int16) - truth[:, :1].astype(np.int16)).max(-1)
    return (change > MOVED) & frame_mask[:, :, None, None]


def mean_db(values: Float[np.ndarray, " B"]) -> float:
    """Mean over the clips that have a value; NaN if none has."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")


def _psnr(video: np.ndarray, truth: np.ndarray, pixels: np.ndarray) -> float:
    error = video[pixels].astype(np.float64) - truth[pixels]
    if not error.size:
        return float("nan")
    mean = np.square(error).mean()
    return float(10 * np.log10(255.0**2 / mean)) if mean else float("inf")
