"""Several data sets in one run: shares, widths, robots, statistics, cameras."""

import numpy as np
import pytest

from data_pipelines import opening, pipeline
from data_pipelines.oxe import published
from data_pipelines.oxe.registry import find
from tests.data_pipelines import shards
from tests.data_pipelines.oxe import fakes
from vidact import actions
from vidact.errors import UserError


@pytest.fixture
def roots(tmp_path):
    """A data set of 6 episodes of 5 steps (24 windows) and one of 2 of 13 (24 windows)."""
    one = shards.write(tmp_path / "one", [shards.episode(i, steps=5) for i in range(6)])
    other = shards.write(tmp_path / "other", [shards.episode(10 + i, steps=13) for i in range(2)])
    return one, other


def mixed(roots, weights=(1.0, 1.0), batch_size=4, **data):
    sources = tuple((f"rlds:{root}", weight) for root, weight in zip(roots, weights, strict=True))
    config = shards.config("", sources=sources, held_out=0.0, **data)
    return pipeline.make_dataset(config, seed=3, batch_size=batch_size)


@pytest.mark.parametrize(
    ("weights", "balance", "share"),
    [((1.0, 1.0), True, 0.5), ((3.0, 1.0), True, 0.75), ((1.0, 9.0), False, 0.1)],
)
def test_shares_are_kept_exactly(roots, weights, balance, share):
    dataset = mixed(roots, weights, balance=balance)
    ids = np.concatenate([dataset.batch_at(step).dataset_id for step in range(30)])
    for count in (20, 60, 120):  # after any number of windows to within one
        assert abs((ids[:count] == 0).sum() - share * count) <= 1
    first = [i for s in range(60) for i in dataset.indices_at(s).tolist() if i < 24]
    assert sorted(first[:24]) == list(range(24))  # each goes through its own epoch


def test_balanced_by_windows_whatever_their_number(tmp_path):
    one = shards.write(tmp_path / "a", [shards.episode(i, steps=10) for i in range(4)])  # 36
    other = shards.write(tmp_path / "b", [shards.episode(i, steps=13) for i in range(1)])  # 12
    ids = np.concatenate([mixed((one, other)).batch_at(s).dataset_id for s in range(24)])
    assert (ids == 0).sum() == 72 and (ids == 1).sum() == 24


def test_each_data_set_has_its_own_statistics(roots):
    dataset = mixed(roots)
    batch = dataset.batch_at(0)
    for row, index in enumerate(dataset.indices_at(0)):
        window = dataset.windows.at(np.array([index]))
        episode = dataset.source.episode(int(window.episodes[0]))
        found = dataset.statistics[batch.dataset_id[row]]["action"]
        start = int(window.starts[0])
        wanted = actions.normalise(episode.actions[start : start + 1], found)
        np.testing.assert_array_equal(batch.actions[row, :1], wanted)
    assert dataset.statistics[0]["action"].max[0] == 4
    assert dataset.statistics[1]["action"].max[0] == 12
    assert dataset.source.names == ("toy", "toy-1")


def test_narrow_actions_are_padded_and_masked(roots, tmp_path):
    narrow = mixed(roots)
    views = list(narrow.source.data_sets)
    assert narrow.widths == {"action": 2, "state": 3}
    # The second data set's state serves as its action: three columns.
    views[1] = shards.opened(roots[1], action="observation/state")
    source = type(narrow.source)(views, 10_000)
    config = narrow.config
    dataset = pipeline.make_dataset(config, seed=3, batch_size=8, source=source)
    assert dataset.widths == {"action": 3, "state": 3}
    batch = dataset.batch_at(0)
    ids = batch.dataset_id
    assert set(ids) == {0, 1}
    assert not batch.action_mask[ids == 0, :, 2].any() and not batch.actions[ids == 0, :, 2].any()
    assert batch.action_mask[ids == 1, 0].all()


def test_native_rates_differ_and_are_told(roots):
    dataset = mixed(roots, fps=0.0)
    assert set(dataset.batch_at(0).fps) == {20.0}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"sources": (("rlds:a", 0.0),)}, "'rlds:a' with weight 0.0: give each data set once"),
        ({"sources": (("rlds:a", 1.0), ("rlds:a", 1.0))}, "'rlds:a' with weight 1.0: give each"),
        ({"sources": (("rlds:a", "1"),)}, r"\('rlds:a', '1'\): want"),
        ({"sources": (("rlds:a", float("inf")),)}, "'rlds:a' with weight inf: give each"),
        ({"sources": (("rlds:a",),)}, r"\('rlds:a',\): want \(KIND:DIR, weight\)"),
        ({"sources": ("rlds:a",)}, r"'rlds:a': want \(KIND:DIR, weight\)"),
        ({"sources": (("a", 1.0, "state"),)}, r"\('a', 1\.0, 'state'\): want \(KIND:DIR, weight\)"),
        ({"mixture": "soup"}, "soup"),
    ],
)
def test_wrong_sources(data, message):
    with pytest.raises(UserError, match=message):
        opening.open_source(shards.config("nowhere", **data))


def test_real_bridge_through_its_row(shared):
    root = str(shared / "data" / "bridge_dataset")
    config = shards.config(
        root,
        registry="auto",
        cameras=("primary", "wrist"),
        tiles=(1, 2),
        resolution=(64, 128),
        frames=5,
        fps=5.0,
        held_out=0.0,
    )
    dataset = pipeline.make_dataset(config, seed=0, batch_size=8)
    assert len(dataset) == 25 * 7  # ten steps less the first and the last, one window fewer
    batch = dataset.batch_at(0)
    assert batch.pixels[:, :, :, :64].std() > 20
    assert not batch.pixels[:, :, :, 64:].any()  # a WidowX has no wrist camera
    assert set(np.unique(batch.actions[..., 6][batch.action_mask[..., 6]])) <= {0.0, 1.0}
    window = dataset.windows.at(dataset.indices_at(0)[:1])
    episode, start = dataset.source.episode(int(window.episodes[0])), int(window.starts[0])
    raw = actions.denormalise(batch.actions[0], dataset.statistics[0]["action"])
    reached = episode.states[start, :6] + raw[0, :6]
    np.testing.assert_allclose(reached, episode.states[start + 1, :6], atol=1e-5)
    assert dataset.robots == ("WidowX",) and batch.embodiment_id.tolist() == [0] * 8


def test_published_statistics(shared):
    bridge = str(shared / "data" / "bridge_dataset")
    config = shards.config(bridge, registry="auto", fps=5.0, held_out=0.0, statistics="published")
    found = pipeline.make_dataset(config, seed=0, batch_size=2).statistics[0]
    wanted = published.find("bridge_orig")["action"]
    np.testing.assert_array_equal(found["action"].q99[:6], wanted.q99[:6])
    assert (found["action"].min[6], found["action"].max[6]) == (-1, 1)  # left alone
    assert found["state"].count == 200
    config.registry, config.image_key = "", "observation/image_0"
    with pytest.raises(UserError, match="nobody published any of bridge_dataset"):
        pipeline.make_dataset(config, seed=0, batch_size=2)


def test_statistics_published_at_another_rate(tmp_path):
    """Displacements at 5 Hz are three times those at 15."""
    root = str(fakes.write(tmp_path, find("taco_play")))
    config = shards.config(root, registry="auto", held_out=0.0, statistics="published")
    wanted = published.find("taco_play")["action"].q99[:6]
    for own in (0.0, 15.0):
        config.fps = own
        found = pipeline.make_dataset(config, seed=0, batch_size=2).statistics[0]["action"]
        np.testing.assert_array_equal(found.q99[:6], wanted)
    config.fps = 5.0
    message = (
        r"config\.data\.statistics='published': those of taco_play are of 15 steps a second, "
        r"config\.data\.fps=5: set "
    )
    with pytest.raises(UserError, match=message):
        pipeline.make_dataset(config, seed=0, batch_size=2)
    config.statistics = "measured"
    pipeline.make_dataset(config, seed=0, batch_size=2)


def test_columns_in_another_order(shared):
    bridge = str(shared / "data" / "bridge_dataset")
    config = shards.config(bridge, registry="auto", fps=5.0, held_out=0.0)
    plain = pipeline.make_dataset(config, seed=0, batch_size=4)
    config.action_order = (6, 0, 1, 2)  # the gripper first, no rotation
    found = pipeline.make_dataset(config, seed=0, batch_size=4)
    assert found.widths["action"] == 4
    wanted = plain.batch_at(0).actions[..., [6, 0, 1, 2]]
    np.testing.assert_array_equal(found.batch_at(0).actions, wanted)
    config.statistics = "published"
    taken = pipeline.make_dataset(config, seed=0, batch_size=4).statistics[0]["action"]
    assert taken.q99[1] == published.find("bridge_orig")["action"].q99[0]
    config.action_order = (7,)
    with pytest.raises(UserError, match=r"action_order=\(7,\): .* has 7 columns, 0 to 6"):
        pipeline.make_dataset(config, seed=0, batch_size=4)


def test_real_bridge_at_another_rate(shared):
    config = shards.config(
        str(shared / "data" / "bridge_dataset"), registry="auto", fps=2.5, held_out=0.0
    )
    dataset = pipeline.make_dataset(config, seed=0, batch_size=2)
    config = config.copy_and_resolve_references()
    config.fps = 0.0
    native = pipeline.make_dataset(config, seed=0, batch_size=2)
    slow, fast = dataset.source.episode(3), native.source.episode(3)
    assert (len(slow), len(fast)) == (4, 8)
    np.testing.assert_allclose(
        slow.actions[:, :6], fast.actions[:, :6].reshape(4, 2, 6).sum(1), atol=1e-6
    )
    np.testing.assert_array_equal(slow.actions[:, 6], fast.actions[1::2, 6])
    assert set(dataset.batch_at(0).fps) == {2.5} and set(native.batch_at(0).fps) == {5.0}
