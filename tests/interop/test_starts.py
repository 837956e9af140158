"""What a run may start from, and what may be missing there: only what must start anew does."""

import dataclasses
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipelines import encoded, pipeline
from tests.evaluation import tiny_run
from vidact import encode, export
from vidact.encoders.video import linear
from vidact.errors import UserError
from vidact.interop import export_weights, init_from, sources
from vidact.models import registry
from vidact.nn import flat
from vidact.training import prepare, runs

UNTOUCHED = 9.0


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tiny_run.copy(tmp_path_factory, tmp_path_factory.mktemp("starts"))


@pytest.fixture(scope="module")
def trained(workdir):
    """The run's parameters by path."""
    return {k: np.asarray(v) for k, v in flat.parameters(runs.load(workdir).model).items()}


def changed(workdir, start, **changes):
    """The run's configuration with others, and a new state's parameters, all `UNTOUCHED`."""
    config = runs.read_config(workdir)
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    config.init_from = str(start)
    shapes = flat.blueprint(registry.maker(config)).shapes
    return config, {k: jnp.full(v.shape, UNTOUCHED, v.dtype) for k, v in shapes.items()}


def taken(workdir, start, **changes):
    config, fresh = changed(workdir, start, **changes)
    return init_from.start(config).parameters(fresh)


def same(found, expected, paths) -> None:
    assert found.keys() == set(paths)
    for path in paths:
        np.testing.assert_array_equal(found[path], expected[path], err_msg=path)


def plain(statistics):
    """By data set and kind, as JSON."""
    return {s: {k: v.to_json() for k, v in kinds.items()} for s, kinds in statistics.items()}


@pytest.fixture(scope="module")
def folders(workdir, tmp_path_factory):
    """The four kinds that come from a run."""
    root = tmp_path_factory.mktemp("kinds")
    shutil.copytree(workdir / "checkpoints/0", root / "best")  # alone, under another name
    (root / "exported").mkdir()
    export.write(runs.load(workdir), root / "exported")
    return {
        "run": workdir,
        "checkpoint": workdir / "checkpoints/0",
        "copied": root / "best",
        "exported": root / "exported",
    }


@pytest.mark.parametrize("kind", ["run", "checkpoint", "copied", "exported"])
def test_every_kind_gives_the_same_parameters_and_codec(workdir, trained, folders, kind, capsys):
    same(taken(workdir, folders[kind]), trained, trained)
    count = len(trained)
    assert f"{count} of {count} parameters taken\n" in capsys.readouterr().out
    config, _ = changed(workdir, folders[kind])
    codec = linear.load(workdir / runs.CODEC)
    found = init_from.start(config)
    jax.tree.map(np.testing.assert_array_equal, found.codec, codec)
    known = {runs.read_data_set(workdir)[0]: plain(runs.read_statistics(workdir))}
    plain_found = {fingerprint: plain(sets) for fingerprint, sets in found.statistics.items()}
    assert plain_found == ({} if kind == "exported" else known)


def test_a_checkpoint_copied_alone_is_a_whole_run(workdir, trained, folders):
    run = runs.load(folders["copied"])
    assert run.step == 0
    assert run.config.to_dict() == runs.read_config(workdir).to_dict()
    assert plain(run.statistics) == plain(runs.read_statistics(workdir))
    same(flat.parameters(run.model), trained, trained)
    jax.tree.map(np.testing.assert_array_equal, run.codec, linear.load(workdir / runs.CODEC))


@pytest.mark.parametrize("kind", ["copied", "exported"])
def test_other_widths_start_their_own_layers_anew_and_say_so(
    workdir, trained, folders, kind, capsys
):
    found = taken(workdir, folders[kind], model__action_dim=7, model__state_dim=3)
    layers = ("action/action_encoder/fc1", "action/decoder/out/linear", "action/state_encoder/fc1")
    same(found, trained, [p for p in trained if p.rpartition("/")[0] not in layers])
    assert capsys.readouterr().out.splitlines() == [
        "re-initialised: action/action_encoder/fc1/kernel (4 -> 7 columns)",
        "re-initialised: action/decoder/out/linear/kernel (4 -> 7 columns)",
        "re-initialised: action/state_encoder/fc1/kernel (4 -> 3 columns)",
        f"{folders[kind]}: {len(trained) - 6} of {len(trained)} parameters taken",
    ]


def test_what_is_trained_later_may_be_missing(workdir, trained, capsys):
    later = dict(model__refiner_depth=1, model__refiner_width=16, model__refiner_heads=2)
    same(taken(workdir, workdir, **later, model__lora_rank=2), trained, trained)
    assert capsys.readouterr().out.endswith("parameters taken; new: refiner, LoRA factors\n")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model__video_width": 32}, r"misshapen: .*video/x_embedder/bias \(16,\) instead of \(32"),
        ({"model__decoder_channels": (8, 8, 8)}, r"missing: .*action/decoder/down/2/"),
        ({"model__decoder_channels": (8,)}, r"unexpected: .*action/decoder/down/1/"),
        # One width of the layer alone may be another.
        (
            {"model__action_dim": 7, "model__action_width": 32},
            r"misshapen: .*action/action_encoder/fc1/kernel \(4, 16\) instead of \(7, 32\)",
        ),
        (
            {"model__action_dim": 7, "train__freeze": ("^action/action_encoder/",)},
            r"config\.train\.freeze: holds action/action_encoder/fc1/bias, which .* stay random",
        ),
        ({"encoder__channels": 5, "model__latent_channels": 5}, r"encoder\.channels \(6 there, 5"),
        ({"encoder__blind": True}, r"config\.encoder\.blind \(False there, True now\)"),
        ({"data__resolution": (32, 32)}, r"config\.data\.resolution=\(32, 32\): .* has \(64, 64\)"),
    ],
)
def test_all_else_is_refused(workdir, changes, told):
    with pytest.raises(UserError, match=told) as error:
        taken(workdir, workdir, **changes)
    assert "\n" not in str(error.value)
    assert str(workdir) in str(error.value)


def test_folders_that_are_nothing_are_refused(workdir, tmp_path):
    for folder in (tmp_path, tmp_path / "none", workdir / "checkpoints"):
        with pytest.raises(UserError, match=rf"init_from={re.escape(str(folder))}: is no run, "):
            sources.open_source(folder)
    bare = shutil.copytree(workdir, tmp_path / "bare")
    shutil.rmtree(bare / "checkpoints")
    with pytest.raises(UserError, match="holds no checkpoint yet"):
        sources.open_source(bare)


def test_a_run_without_stdit3_s_video_branch_is_not_written_in_part(workdir, tmp_path):
    copy = shutil.copytree(workdir, tmp_path / "copy")
    config = runs.read_config(copy)
    config.model.family = "joint_dit"
    runs.write_config(copy, config)
    with pytest.raises(UserError, match=r"model\.family='joint_dit': .* has no video branch"):
        export_weights.main(["--from", str(copy), "--to", str(tmp_path / "back")])
    assert not (tmp_path / "back").exists()


def test_latents_of_another_codec_than_the_start_s_are_refused(workdir, tmp_path):
    config, _ = changed(workdir, workdir)
    train = pipeline.make_dataset(config.data, seed=0, batch_size=1)
    own, stored = linear.load(workdir / runs.CODEC), encoded.Encoded(tmp_path, {})
    linear.save(own, stored.codec)
    prepare.first_codec(config, train, own, stored)
    linear.save(dataclasses.replace(own, mean=own.mean + 1), stored.codec)
    prepare.first_codec(config, train, None, stored)  # a run from scratch takes what is stored
    with pytest.raises(UserError, match="was stored with another codec than"):
        prepare.first_codec(config, train, own, stored)


def test_encoding_for_a_run_that_starts_from_another_takes_its_codec(workdir, tmp_path):
    config, _ = changed(workdir, workdir)
    dataset = pipeline.make_dataset(config.data, seed=0, batch_size=1)
    found = encode.prepare_codec(config, dataset, encoded.Encoded(tmp_path, {}))
    jax.tree.map(np.testing.assert_array_equal, found, linear.load(workdir / runs.CODEC))
    stored = encoded.Encoded(tmp_path, {})
    assert stored.codec.is_file()
    linear.save(dataclasses.replace(found, mean=found.mean + 1), stored.codec)
    with pytest.raises(UserError, match="was stored with another codec than"):
        encode.prepare_codec(config, dataset, stored)
