"""A run starts from imported weights, keeps what is frozen, and gives it back bit for bit."""

import dataclasses

import jax
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from tests import tiny
from vidact import store, train
from vidact.errors import UserError
from vidact.interop import export_weights, import_weights, init_from, networks, sources
from vidact.models import registry
from vidact.nn import flat, lora
from vidact.training import checkpoints, loop, prepare, runs, state

SMALL = {
    "data__held_out": 0.0,
    "model__decoder_channels": (32,),
    "train__steps": 2,
    "train__checkpoint_every": 1,
    "train__log_every": 1,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data, published weights of the tiny model's sizes, and the same imported."""
    root = tmp_path_factory.mktemp("pretrained")
    tiny.write_data(root)
    changes = tiny.CHANGES
    sizes = networks.stdit3_sizes({}, root) | dict(
        depth=1, video_width=32, video_heads=2, latent_channels=changes["model.latent_channels"],
        text_width=32, max_words=16, learn_sigma=False,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    places = networks.KINDS["opensora-stdit3"].build(sizes).places
    given = {p.name: 0.1 * rng.standard_normal(p.shape).astype(np.float32) for p in places}
    safetensors.numpy.save_file(given, root / "published.safetensors")
    command = ["--from", "opensora-stdit3", str(root / "published.safetensors")]
    import_weights.main([*command, "--to", str(root / "imported")])
    return root, given


def run(root, workdir, **changes):
    line = tiny.train_command(root / "squares/1.0.0", workdir, **{**SMALL, **changes})
    train.main(line[3:])


def test_a_frozen_video_branch_comes_back_as_it_was_published(folder, tmp_path):
    root, given = folder
    workdir = tmp_path / "run"
    run(root, workdir, init_from=str(root / "imported"), train__freeze=("^video/",))
    export_weights.main(["--from", str(workdir), "--to", str(tmp_path / "back")])
    with store.reader(tmp_path / "back") as found:
        assert found.shapes.keys() == given.keys()
        for name, array in given.items():
            np.testing.assert_array_equal(found.get(name), array, err_msg=name)


def kernel(name, array) -> bool:
    return name.endswith("weight") and array.ndim > 1


@pytest.fixture(scope="module")
def adapted(folder, tmp_path_factory):
    """A run with factors that are no longer zero: its configuration, state and work directory."""
    root, _ = folder
    changes = {"train__freeze": ("video-branch",), "train__frozen_dtype": "bfloat16"}
    changes |= {**SMALL, "model__lora_rank": 2}
    config = tiny.config(root / "squares/1.0.0", **changes)
    config.init_from, workdir = str(root / "imported"), tmp_path_factory.mktemp("adapted") / "run"
    start = prepare.trainer(config, workdir, init_from.start(config)).state
    ema = {k: v + 0.1 if lora.is_factor(k) else v for k, v in start.ema.items()}
    runs.write_config(workdir, config)
    with checkpoints.open_manager(workdir, config.train) as manager:
        trained = dataclasses.replace(start, ema=ema)
        checkpoints.save(manager, trained, {"step": 0, "config": config.to_dict()})
        manager.wait_until_finished()
    return config, trained, workdir


def test_lora_factors_are_not_asked_of_published_weights_and_go_back_in_them(
    folder, adapted, tmp_path
):
    (_, given), (config, trained, workdir) = folder, adapted
    export_weights.main(["--from", str(workdir), "--to", str(tmp_path / "back")])
    whole = state.inference_parameters(trained)
    scale = config.model.lora_alpha / 2
    bfloat16 = ml_dtypes.bfloat16
    base = {  # as frozen kernels are kept
        name: array.astype(bfloat16).astype(np.float32) if kernel(name, array) else array
        for name, array in given.items()
    }
    with store.reader(tmp_path / "back") as found:
        assert found.shapes.keys() == given.keys()
        adapted = {name for name in base if not np.array_equal(found.get(name), base[name])}
        assert len(adapted) == 2 * 7
        path, name = "video/temporal_blocks/mlp/fc2/lora_", "temporal_blocks.0.mlp.fc2.weight"
        product = np.asarray(whole[path + "a"][0] @ whole[path + "b"][0])
        np.testing.assert_allclose(found.get(name), base[name] + scale * product.T, atol=1e-6)


def test_factors_keep_the_scale_that_they_were_trained_with(adapted):
    """Under another alpha / rank the same factors are another function."""
    config, trained, workdir = adapted
    fresh = {**trained.params, **trained.frozen}
    config, other = (config.copy_and_resolve_references() for _ in range(2))
    other.model.lora_alpha = 32.0
    with pytest.raises(UserError, match=r"config\.model\.lora_alpha \(16\.0 there, 32\.0 now\)"):
        loop.check_workdir(other, workdir)  # nor does a run go on with it
    for changed in (config, other):
        changed.init_from = str(workdir)
    assert init_from.start(config).parameters(fresh).keys() == fresh.keys()
    told = r"^config\.model\.lora_alpha=32\.0: .*/run were trained with 16\.0; set that$"
    with pytest.raises(UserError, match=told):
        init_from.start(other)


@pytest.mark.slow
def test_training_moves_what_is_not_frozen_and_the_stored_buffers_never(folder, tmp_path):
    root, given = folder
    scales = (("^video/spatial_blocks/", 0.0), ("^video/", 0.5))
    workdir = tmp_path / "run"
    run(root, workdir, init_from=str(root / "imported"), optimizer__scales=scales)
    params, kept = (tiny.saved(workdir, 2, item) for item in ("state", "params"))
    params, frozen = params["params"], {k: kept[k] for k in kept.keys() - params["params"].keys()}
    assert frozen.keys() == {"video/rope/freqs", "y_embedding"}
    np.testing.assert_array_equal(frozen["video/rope/freqs"], given["rope.freqs"])
    name, path = "spatial_blocks.0.mlp.fc1.weight", "video/spatial_blocks/mlp/fc1/kernel"
    np.testing.assert_array_equal(params[path][0].T, given[name])
    name, path = "temporal_blocks.0.mlp.fc1.weight", "video/temporal_blocks/mlp/fc1/kernel"
    moved = np.abs(params[path][0].T - given[name]).max()
    assert 0 < moved < 0.02
    config = tiny.config(root, **SMALL, model__lora_rank=2)
    adapted = registry.maker(config)
    fresh = jax.jit(lambda: flat.parameters(adapted()))()
    source = sources.of_run(workdir)  # a run without factors
    found = init_from.parameters(source, config, fresh)
    assert fresh.keys() - found.keys() == {path for path in fresh if lora.is_factor(path)}


def test_what_does_not_fit_is_refused_before_anything_is_written(folder, tmp_path):
    root, _ = folder
    for changes, told in (
        ({"model__video_width": 48}, r"misshapen: .*video/x_embedder/bias \(32,\) instead"),
        ({"init_from": str(tmp_path / "no")}, r"no: is no run, checkpoint, exported folder or"),
        ({"optimizer__scales": (("^vidio/", 0.1),)}, "matches no parameter"),
        ({"optimizer__scales": ("^video/",)}, r"write \('\^video/', 0\.1\)"),
    ):
        with pytest.raises(UserError, match=told):
            run(root, tmp_path / "run", **{"init_from": str(root / "imported"), **changes})
        assert not (tmp_path / "run").exists()
