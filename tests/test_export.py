"""`python -m vidact.export`: a whole folder or none, and PyTorch agrees with JAX."""

import dataclasses
import re
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from data_pipelines import pipeline
from tests.data_pipelines import shards
from tests.evaluation import tiny_run
from vidact import export
from vidact.errors import UserError
from vidact.evaluation import files
from vidact.models import registry
from vidact.nn import flat, lora
from vidact.robot.policy import Policy
from vidact.training import runs

torch.set_num_threads(1)  # at these sizes threads only wait for each other
LINE = re.compile(r"^torch max diff video: (\d\.\de[-+]\d\d) actions: (\d\.\de[-+]\d\d)$", re.M)

EVALUATE = dict(mode="joint", steps=3, action_steps=2)
SETTINGS = [f"--config.evaluate.{name}={value}" for name, value in EVALUATE.items()]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tiny_run.copy(tmp_path_factory, tmp_path_factory.mktemp("export"))


@pytest.fixture
def target(tmp_path):
    return tmp_path / "deep" / "exported"


def run(workdir, target, *more):
    export.main([f"--checkpoint={workdir}", f"--to={target}", *more])


def test_a_robot_can_act_on_what_is_written(workdir, target, capsys):
    run(workdir, target)
    assert "exported step 0" in capsys.readouterr().out
    policy = Policy.load(target)
    height, width = policy.config.resolution
    image = np.zeros((height, width, 3), np.uint8)
    state = np.zeros(policy.config.model.state_dim, np.float32)
    chunk = policy.act(image, state, "open the drawer", seed=0)
    assert chunk.shape == (tiny_run.FRAMES - 1, policy.config.model.action_dim)
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert len({path.stat().st_mode for path in target.iterdir()}) == 1


def test_the_robot_samples_as_evaluation_is_told_to_and_verifies_so(workdir, target, capsys):
    run(workdir, target, "--verify", *SETTINGS)
    found = Policy.load(target).config.sampling
    assert {name: getattr(found, name) for name in EVALUATE} == EVALUATE
    told = capsys.readouterr()
    assert max(float(part) for part in LINE.search(told.out).groups()) <= 1e-3
    assert "random frames" not in told.err


def test_other_sampling_than_was_evaluated_is_refused(workdir, target, tmp_path):
    copy = shutil.copytree(workdir, tmp_path / "copy")
    settings = runs.read_config(copy).evaluate.to_dict() | EVALUATE
    files.write_json(copy / files.EVALUATION, {"step": 0, "settings": settings})
    with pytest.raises(UserError, match=r"mode='policy': .*evaluation\.json was measured with 'jo"):
        run(copy, target)
    with pytest.raises(UserError, match=r"steps=4: .* add --config\.evaluate\.steps=3, or"):
        run(copy, target, *SETTINGS, "--config.evaluate.steps=4")
    assert not target.exists()
    run(copy, target, *SETTINGS)
    files.write_json(copy / files.EVALUATION, {"step": 1, "settings": settings})
    run(copy, target, "--overwrite")  # that was another checkpoint


@pytest.fixture(scope="module")
def mixture(workdir, tmp_path_factory):
    """The run, trained on a data set of 2 actions and 3 numbers of state besides."""
    folder = tmp_path_factory.mktemp("mixture")
    data = shards.write(folder, [shards.episode(i) for i in range(4)])
    copy, config = shutil.copytree(workdir, folder / "run"), runs.read_config(workdir)
    config.data.update(sources=((config.data.root, 1.0), (f"rlds:{data}", 1.0)), root="")
    train = pipeline.make_dataset(config.data, seed=0, batch_size=1)
    measured = dict(zip(train.source.names, train.statistics, strict=True))
    runs.write_assets(copy, None, measured, train.source, {})
    runs.write_config(copy, config)
    return copy


def test_a_narrow_data_set_of_a_mixture_acts_with_its_columns(mixture, target, capsys):
    with pytest.raises(UserError, match=r"data_set='': .* squares, toy; name the one"):
        run(mixture, target)
    run(mixture, target, "--config.evaluate.data_set=toy", "--verify")
    told = capsys.readouterr()
    assert max(float(part) for part in LINE.search(told.out).groups()) <= 1e-3
    assert "random frames" not in told.err
    policy, own = Policy.load(target), runs.read_statistics(mixture)["toy"]
    image, state = np.zeros((64, 64, 3), np.uint8), np.zeros(3, np.float32)
    assert policy.act(image, state, "do task 1", seed=0).shape == (tiny_run.FRAMES - 1, 2)
    assert (policy.config.data_set, policy.config.model.action_dim) == ("toy", 4)
    for kind in ("action", "state"):
        assert policy.config.statistics[kind].to_json() == own[kind].to_json()


def test_a_data_set_without_actions_is_no_robot(mixture, target, tmp_path):
    copy = shutil.copytree(mixture, tmp_path / "copy")
    config = runs.read_config(copy)
    first, (spec, weight) = config.data.sources
    config.data.sources = (first, (spec, weight, {"action_key": ""}))
    source = pipeline.make_dataset(config.data, seed=0, batch_size=1)
    measured = dict(zip(source.source.names, source.statistics, strict=True))
    runs.write_assets(copy, None, measured, source.source, {})
    runs.write_config(copy, config)
    with pytest.raises(UserError, match=r"data_set='toy': has no actions; name a robot's"):
        run(copy, target, "--config.evaluate.data_set=toy")
    assert not target.exists()


def test_lora_factors_are_folded_into_their_kernels(workdir, tmp_path):
    trained = runs.load(workdir)
    config = trained.config.copy_and_resolve_references()
    config.model.lora_rank = 2
    plan, rng = flat.blueprint(registry.maker(config)), np.random.default_rng(0)
    factors = {
        path: jnp.asarray(0.1 * rng.standard_normal(shape.shape), jnp.float32)
        for path, shape in plan.shapes.items()
        if lora.is_factor(path)
    }
    model = plan.assemble({**flat.parameters(trained.model), **factors})
    adapted = dataclasses.replace(trained, config=config, model=model)
    for source, folder in ((trained, tmp_path / "plain"), (adapted, tmp_path / "adapted")):
        folder.mkdir()
        export.write(source, folder)
    plain, found = (load_file(tmp_path / name / export.MODEL) for name in ("plain", "adapted"))
    assert found.keys() == plain.keys()
    changed = {name for name in plain if not np.array_equal(plain[name], found[name])}
    assert len(changed) == 14  # seven affine layers in each of two blocks
    name, path = "video.spatial_blocks.0.mlp.fc1.weight", "video/spatial_blocks/mlp/fc1/lora_"
    product = np.asarray(factors[path + "a"][0] @ factors[path + "b"][0])
    scale = config.model.lora_alpha / 2
    np.testing.assert_allclose(found[name], plain[name] + scale * product.T, atol=1e-6)


def test_what_differs_is_not_written_even_without_a_data_set(workdir, target, monkeypatch, capsys):
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(SystemExit) as ended:
        run(workdir, target, "--verify", "--config.data.root=/nowhere")
    assert ended.value.code == 1
    told = capsys.readouterr()
    assert LINE.search(told.out)
    assert "'/nowhere': no data set; verifying on random frames" in told.err
    assert "nothing was written" in told.err
    assert not list(target.parent.iterdir())


def test_only_an_earlier_export_is_replaced_and_only_if_asked(workdir, target):
    run(workdir, target)
    before = (target / export.CONFIG).read_bytes()
    with pytest.raises(UserError, match="exists; choose another --to, or --overwrite"):
        run(workdir, target)
    (target / export.CONFIG).write_text("{}")
    run(workdir, target, "--overwrite")
    assert (target / export.CONFIG).read_bytes() == before
    assert Policy.load(target).config.source_step == 0
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    (target / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is no earlier export"):
        run(workdir, target, "--overwrite")
    assert (target / "notes.txt").read_text() == "mine"


def test_a_file_in_the_way_is_left_alone(workdir, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="is no earlier export"):
        run(workdir, tmp_path / "file", "--overwrite")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--step=7"], "no checkpoint of step 7"),
        (["--config.model.depth=9"], r"config\.model\.depth=9: fixed by the training"),
        (["--config.data.rot=x"], "rot"),
        (["--verfy"], "--verfy: unknown argument"),
        (["--config.evaluate.mode=video"], "mode='video': makes no actions"),
        (["--config.evaluate.action_steps=-1"], r"action_steps=-1: must be at least 0"),
    ],
)
def test_a_mistake_is_named_and_writes_nothing(workdir, target, arguments, message):
    with pytest.raises(UserError, match=message):
        run(workdir, target, *arguments)
    assert not target.exists()
    assert not target.parent.exists() or not list(target.parent.iterdir())


def test_a_place_that_cannot_be_written_is_named(workdir, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"file/exported: .*; choose another --to"):
        run(workdir, tmp_path / "file" / "exported")


def test_a_missing_work_directory_is_named(target, tmp_path):
    with pytest.raises(UserError, match=r"nothing.*no such file"):
        run(tmp_path / "nothing", target)


def test_a_damaged_codec_is_named(workdir, target, tmp_path):
    copy = shutil.copytree(workdir, tmp_path / "copy")
    (copy / "assets/video_codec.safetensors").write_bytes(b"no such thing")
    with pytest.raises(UserError, match=r"video_codec\.safetensors: not a video codec"):
        run(copy, target)
    assert not target.exists()


def test_help_shows_examples(capsys):
    with pytest.raises(SystemExit) as ended:
        export.main(["--help"])
    assert ended.value.code == 0
    assert "python -m vidact.export --checkpoint runs/quickstart/run --to exported --verify" in (
        capsys.readouterr().out
    )
