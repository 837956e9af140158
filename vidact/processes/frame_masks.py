"""Which latent frames are given: drawn in training, spelt out in a string when sampling.

Facts from specs/opensora.md 5. In training True means noised and part of the loss, False a clean
frame. When sampling 0 keeps a frame, 1 generates it, and a value between edits it.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

KINDS = (
    "random",
    "interpolate",
    "quarter_random",
    "quarter_head",
    "quarter_tail",
    "quarter_head_tail",
    "image_random",
    "image_head",
    "image_tail",
    "image_head_tail",
)


def _shares(*values: float) -> dict[str, float]:
    return dict(zip(KINDS, values, strict=True))


# The shares of Open-Sora 1.2's training stages; what is left to 1 trains on the whole video.
STAGE1 = _shares(0.05, 0.005, 0.005, 0.005, 0.005, 0.005, 0.025, 0.05, 0.025, 0.025)
STAGE2 = STAGE1
STAGE3 = _shares(0.01, 0.002, 0.002, 0.002, 0.002, 0.002, 0.0, 0.22, 0.005, 0.005)
ADAPT = _shares(0.2, 0.01, 0.01, 0.01, 0.01, 0.01, 0.05, 0.1, 0.05, 0.05)
# Image-to-video only.
IMAGE_TO_VIDEO = {"image_head": 1.0}


def training_masks(
    key: Array, batch: int, frames: int, shares: Mapping[str, float]
) -> Bool[Array, "{batch} {frames}"]:
    """Draws one kind of mask per sample (specs/opensora.md 5).

    Clean frames by kind: quarter_*: n at the head, the tail, both, or somewhere, with n uniform
    in 1..frames // 4; image_*: the same with n = 1; interpolate: every second one; random: each
    with a probability that is itself uniform in 0.1..0.9. Two cases that the original fails in
    are settled here: below 4 frames quarter_* takes n = 1, and a mask that would leave nothing
    to train on trains on everything instead (or, if random, on one frame).

    Args:
      key: random key.
      batch: number of samples; static, like frames.
      frames: latent frames, >= 1.
      shares: probability of each of KINDS; those not named have 0, the rest is all True.

    Returns:
      True where a frame is noised and in the loss; at least one in each row.
    """
    if wrong := sorted(set(shares) - set(KINDS)):
        raise ValueError(f"shares: no kind {wrong[0]!r}; choose from {', '.join(KINDS)}")
    if min(shares.values(), default=0) < 0 or sum(shares.values()) > 1 + 1e-6:
        raise ValueError("shares: must not be negative nor add up to more than 1")
    kinds, clean = jax.random.split(key)
    ends = jnp.cumsum(jnp.array([shares.get(kind, 0.0) for kind in KINDS]))
    kind = jnp.searchsorted(ends, jax.random.uniform(kinds, (batch,)), side="right")
    masks = ~_clean(clean, batch, frames)[kind, jnp.arange(batch)]
    return masks | ~masks.any(1, keepdims=True)


def _clean(key: Array, batch: int, frames: int) -> Bool[Array, "kinds_and_none b t"]:
    """For each kind, in their order, the frames it leaves clean; at the end: none."""
    chances, ratios, parities, counts, places, place = jax.random.split(key, 6)
    chance = jax.random.uniform(chances, (batch, frames))
    ratio = jax.random.uniform(ratios, (batch, 1), minval=0.1, maxval=0.9)
    parity = jax.random.randint(parities, (batch, 1), 0, 2)
    count = jax.random.randint(counts, (batch, 1), 1, max(frames // 4, 1) + 1)
    kinds = (
        (chance <= ratio) & (chance < chance.max(1, keepdims=True)),
        jnp.arange(frames) % 2 == parity,
        *_runs(places, count, frames),
        *_runs(place, jnp.ones_like(count), frames),
        jnp.zeros((batch, frames), bool),
    )
    return jnp.stack(kinds)


def _runs(key: Array, count: Int[Array, "b 1"], frames: int) -> tuple[Bool[Array, "b t"], ...]:
    """`count` frames somewhere, at the head, at the tail, and at both."""
    index = jnp.arange(frames)
    start = jax.random.randint(key, count.shape, 0, frames - count + 1)
    head, tail = index < count, index >= frames - count
    return (index >= start) & (index < start + count), head, tail, head | tail


@dataclasses.dataclass(frozen=True)
class Placement:
    """Frames of a reference that go into a video; `parse` reads them in this order."""

    loop: int = 0  # the round of an autoregressive run in which it holds
    reference: int = 0
    reference_start: int = 0  # negative: from the end
    target_start: int = 0  # negative: from the end
    length: int = 1
    edit: float = 0.0  # the mask's value: 0 keeps the frames, more of it changes them more


def parse(strategy: str) -> tuple[Placement, ...]:
    """Reads "loop,reference,reference_start,target_start,length,edit;..." (specs/opensora.md 5).

    Args:
      strategy: placements separated by ";", whose fields default to 0,0,0,0,1,0 from the right;
        an empty string means none.

    Raises:
      ValueError: a placement has too many fields, or one that cannot be.
    """
    return tuple(_placement(text) for text in strategy.split(";")) if strategy.strip() else ()


def _placement(text: str) -> Placement:
    fields = text.split(",")
    kinds = (int, int, int, int, int, float)
    try:
        if len(fields) > len(kinds):
            raise ValueError
        found = Placement(*(kind(field) for kind, field in zip(kinds, fields, strict=False)))
        if found.length < 1 or not 0 <= found.edit <= 1:
            raise ValueError
    except ValueError:
        form = "loop,reference,reference_start,target_start,length,edit"
        raise ValueError(
            f"mask strategy {text!r}: write {form}, whole numbers but for the edit ratio in 0..1, "
            "and a length of at least 1"
        ) from None
    return found


def apply(
    latents: Float[Array, "b t h w c"],
    references: Sequence[Sequence[Float[Array, "_ h w c"]]],
    strategies: Sequence[str],
    align: int | None = None,
    loop: int = 0,
) -> tuple[Float[Array, "b t h w c"], Float[Array, "b t"]]:
    """Puts references into latents, and says in a mask which frames they fill.

    Later placements overwrite earlier ones; what does not fit at the end is cut off.

    Args:
      latents: noise to sample from.
      references: for each sample its reference clips, encoded like the latents.
      strategies: for each sample its strategy, see `parse`.
      align: starts move to multiples of it; 5 is Open-Sora's, since its codec makes 5 latents of
        every 17 frames, independently.
      loop: the round of an autoregressive run; placements of other rounds are left out.

    Returns:
      The latents, and the mask in 0..1 for `opensora_flow.sample`.

    Raises:
      ValueError: a strategy cannot be read or names a frame or reference that does not exist.
    """
    mask = jnp.ones(latents.shape[:2])
    for row, (clips, strategy) in enumerate(zip(references, strategies, strict=True)):
        for place in (p for p in parse(strategy) if p.loop == loop):
            if not 0 <= place.reference < len(clips):
                raise ValueError(f"{place}: the sample has {len(clips)} references")
            clip = clips[place.reference]
            source = _start(place, place.reference_start, len(clip), align)
            target = _start(place, place.target_start, latents.shape[1], align)
            length = min(place.length, len(clip) - source, latents.shape[1] - target)
            frames = slice(target, target + length)
            latents = latents.at[row, frames].set(clip[source : source + length])
            mask = mask.at[row, frames].set(place.edit)
    return latents, mask


def _start(place: Placement, start: int, total: int, align: int | None) -> int:
    """A frame's place counted from the front, on a multiple of `align`."""
    if not -total <= start < total:
        raise ValueError(f"{place}: frame {start} is not one of {total}")
    start %= total
    if align is None:
        return start
    group = start // align
    # The nearest multiple, but upwards only where a whole group follows.
    up = 2 * (start % align) > align and (group + 2) * align <= total
    return (group + up) * align
