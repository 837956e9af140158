"""Masks of frames: the kinds and shares of training, and the strategies of sampling."""

import ast
import pathlib
from collections import Counter, defaultdict

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidact.processes import frame_masks

GOLDEN = pathlib.Path(__file__).parents[1] / "goldens/opensora/scheduler.npz"
DRAWS = 40_000

with np.load(GOLDEN) as file:
    CASES = file["strategies/names"].tolist()
    WANTED = {name: file[f"strategies/{name}"] for name in ("mask", "z_ch0")}


def draw(shares, frames, count=DRAWS, seed=0):
    return np.asarray(frame_masks.training_masks(jax.random.key(seed), count, frames, shares))


def patterns(masks):
    """How often each row was drawn, as text: 0 clean, 1 noised."""
    rows, counts = np.unique(masks @ (1 << np.arange(masks.shape[1])[::-1]), return_counts=True)
    return Counter({f"{r:0{masks.shape[1]}b}": int(n) for r, n in zip(rows, counts, strict=True)})


def runs(kind, frames, n):
    """The patterns of n clean frames, and their probabilities."""
    if kind == "random":
        starts = range(frames - n + 1)
        return {"1" * s + "0" * n + "1" * (frames - n - s): 1 / len(starts) for s in starts}
    head = n if kind != "tail" else 0
    tail = n if kind != "head" else 0
    return {"0" * head + "1" * (frames - head - tail) + "0" * tail: 1.0}


def expected(shares, frames):
    """The probability of each pattern by the table of specs/opensora.md 5, from 4 frames on."""
    found = defaultdict(float)
    found["1" * frames] = 1 - sum(shares.values())
    for kind, share in shares.items():
        size, _, where = kind.partition("_")
        counts = range(1, frames // 4 + 1) if size == "quarter" else [1]
        if kind == "interpolate":
            for parity in (0, 1):
                found["".join("01"[(i + parity) % 2] for i in range(frames))] += share / 2
        elif kind == "random":
            ratio = np.linspace(0.1, 0.9, 1001)
            for bits in range(1, 2**frames):
                pattern = f"{bits:0{frames}b}"
                kept = pattern.count("1")
                here = (1 - ratio) ** kept * ratio ** (frames - kept)
                if kept == 1:  # where the highest draw saves a row that would be all clean
                    here += ratio**frames / frames
                found[pattern] += share * here.mean()
        else:
            for n in counts:
                for pattern, part in runs(where, frames, n).items():
                    found[pattern] += share * part / len(counts)
    return found


def test_shares_are_the_tables():
    assert [round(1 - sum(s.values()), 6) for s in (frame_masks.STAGE1, frame_masks.STAGE3)] == [
        0.8,
        0.75,
    ]
    assert round(sum(frame_masks.ADAPT.values()), 6) == 0.5
    assert frame_masks.STAGE3["image_head"] == 0.22
    assert frame_masks.STAGE2 == frame_masks.STAGE1
    sums = sum(expected(frame_masks.STAGE1, 8).values())
    assert abs(sums - 1) < 1e-3


@pytest.mark.parametrize("name", ["STAGE1", "STAGE3", "ADAPT"])
@pytest.mark.parametrize("frames", [5, 10])
def test_patterns_come_as_often_as_the_table_says(name, frames):
    wanted = expected(getattr(frame_masks, name), frames)
    found = patterns(draw(getattr(frame_masks, name), frames))
    assert set(found) <= set(wanted)
    worst = max(_deviations(wanted, found))
    print(f"{name}, {frames} frames: {worst:.1f} standard deviations")
    assert worst < 5


def _deviations(wanted, found):
    for pattern, share in wanted.items():
        if share * DRAWS > 10:
            spread = np.sqrt(DRAWS * share * (1 - share)) + 1e-6  # a share may be 1
            yield abs(found[pattern] - DRAWS * share) / spread


@pytest.mark.parametrize("kind", frame_masks.KINDS)
def test_each_kind_alone(kind):
    wanted = expected({kind: 1.0}, 10)
    found = patterns(draw({kind: 1.0}, 10))
    if kind != "random":
        del wanted["1" * 10]
    assert set(found) <= set(wanted)
    assert max(_deviations(wanted, found), default=0) < 5


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_short_clips_always_have_something_to_train_on(frames):
    found = {}
    for kind in frame_masks.KINDS:
        masks = draw({kind: 1.0}, frames, 500)
        assert masks.shape == (500, frames) and masks.any(1).all()
        assert frames > 1 or masks.all()
        found[kind] = set(patterns(masks))
    for kind in (k for k in found if k.startswith("quarter")):
        assert found[kind] == found[kind.replace("quarter", "image")]


def test_image_to_video_leaves_the_first_frame_clean():
    shares = frame_masks.IMAGE_TO_VIDEO
    masks = jax.jit(lambda key: frame_masks.training_masks(key, 100, 5, shares))(jax.random.key(0))
    assert not masks[:, 0].any() and masks[:, 1:].all()


@pytest.mark.parametrize(
    ("shares", "words"),
    [({"intepolate": 0.1}, "choose from"), ({"random": 0.9, "image_head": 0.2}, "add up")],
)
def test_wrong_shares(shares, words):
    with pytest.raises(ValueError, match=words):
        frame_masks.training_masks(jax.random.key(0), 1, 5, shares)


@pytest.mark.parametrize("case", CASES)
def test_strategies_do_what_open_sora_does(case):
    quoted, align = case.split(" align=")
    latents = jnp.zeros((1, 15, 1, 1, 2))
    clips = [
        jnp.broadcast_to(jnp.arange(first, last, dtype=jnp.float32)[:, None, None, None], shape)
        for first, last, shape in ((1, 6, (5, 1, 1, 2)), (11, 26, (15, 1, 1, 2)))
    ]
    strategies = [ast.literal_eval(quoted)]
    found, mask = frame_masks.apply(latents, [clips], strategies, ast.literal_eval(align))
    row = CASES.index(case)
    np.testing.assert_array_equal(mask[0], WANTED["mask"][row])
    np.testing.assert_array_equal(found[0, :, 0, 0, 0], WANTED["z_ch0"][row])


def test_rows_rounds_and_ends():
    latents = jnp.zeros((2, 6, 1, 1, 1))
    clip = jnp.arange(1.0, 5)[:, None, None, None]
    strategies = ["", "1,0,1,4,3,0.5;0"]
    found, mask = frame_masks.apply(latents, [[], [clip]], strategies, loop=1)
    assert mask[0].tolist() == [1] * 6
    assert mask[1].tolist() == [1, 1, 1, 1, 0.5, 0.5]
    assert found[1, :, 0, 0, 0].tolist() == [0, 0, 0, 0, 2, 3]


def test_parse():
    assert frame_masks.parse(" ") == ()
    assert frame_masks.parse("0;1,2,-1,3,2,0.25") == (
        frame_masks.Placement(),
        frame_masks.Placement(1, 2, -1, 3, 2, 0.25),
    )


@pytest.mark.parametrize("strategy", ["a", "0,0,0,0,1,0,0", "0,0,0,0,0", "0,0,0,0,1,1.5", "0;"])
def test_strategies_that_cannot_be(strategy):
    with pytest.raises(ValueError, match="mask strategy"):
        frame_masks.parse(strategy)


@pytest.mark.parametrize("strategy", ["0,1", "0,0,0,6", "0,0,-3"])
def test_places_that_do_not_exist(strategy):
    latents, clip = jnp.zeros((1, 6, 1, 1, 1)), jnp.zeros((2, 1, 1, 1))
    with pytest.raises(ValueError, match="Placement"):
        frame_masks.apply(latents, [[clip]], [strategy])
