"""A robot loads an exported folder and acts, as the JAX model would."""

import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
import torch

from tests.robot import build
from vidact import actions, export, text
from vidact.encoders import encode
from vidact.errors import UserError
from vidact.inputs import Chunk, SampleRequest
from vidact.robot import policy as policy_lib
from vidact.robot.policy import Policy

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXTS = ["open the drawer", "Press the button, slowly and with great care, please"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    export.write(build.run(), folder)
    return folder


@pytest.fixture(scope="module")
def policy(exported):
    return Policy.load(exported)


@pytest.fixture
def seen():
    rng = np.random.default_rng(6)
    images = rng.integers(0, 256, (2, 32, 32, 3), np.uint8)
    return images, rng.normal(3, 2, (2, build.CONFIG.state_dim)).astype(np.float32)


def expected(images, states, noise, steps):
    """What the JAX side makes of the same noise, in robot units."""
    run = build.run()
    statistics, method = run.own, run.config.data.normalisation
    words, mask = text.tokenize(TEXTS, build.CONFIG.max_words, build.CONFIG.vocabulary)
    normalised = actions.normalise(states, statistics["state"], method)
    fps = np.full(len(images), run.config.data.fps, np.float32)
    observation = encode.observation(run.codec, images, normalised, words, mask, fps)
    start = Chunk(*(jnp.asarray(x.numpy()) for x in noise))
    request = SampleRequest(mode="policy", steps=steps, actions=8)
    with jax.default_matmul_precision("highest"):
        denoise = jax.jit(
            lambda o, n: run.model.denoise(o, n, request), compiler_options=build.FAST
        )
        chunk = denoise(observation, start)
    return actions.denormalise(np.asarray(chunk.actions), statistics["action"], method)


def test_it_acts_as_the_jax_model(policy, seen):
    images, states = seen
    noise = policy.noise(2, seed=0)
    found = policy.act(images, states, TEXTS, steps=30, noise=noise)
    wanted = expected(images, states, noise, 30)
    print(f"act: {np.abs(found - wanted).max():.1e}")
    assert found.dtype == np.float32
    assert found.shape == (2, 8, build.CONFIG.action_dim)
    assert np.abs(found - wanted).max() < 1e-3


def test_one_image_is_a_batch_of_one(policy, seen):
    images, states = seen
    noise = policy.noise(1, seed=3)
    one = policy.act(images[0], states[0], TEXTS[0], noise=noise)
    batch = policy.act(images[:1], states[:1], TEXTS[0], noise=noise)
    assert one.shape == (8, build.CONFIG.action_dim)
    assert np.array_equal(one, batch[0])


def test_a_seed_fixes_the_noise(policy, seen):
    images, states = seen
    first, again, other = (policy.act(images, states, TEXTS, seed=s) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    fresh = [policy.act(images, states, TEXTS) for _ in range(2)]
    assert not np.array_equal(*fresh)


def test_chunks_become_commands_at_100_hz(policy, seen):
    chunk = policy.act(seen[0][0], seen[1][0], TEXTS[0], seed=0)
    commands = policy.interpolate(chunk)
    assert commands.shape == (40, build.CONFIG.action_dim)  # 8 actions at 20 Hz last 0.4 s
    np.testing.assert_allclose(commands[::5], chunk, atol=1e-6)


def test_it_knows_its_steps(policy):
    assert policy.config.policy_steps == build.run().config.evaluate.steps
    assert policy.config.source_step == 12
    assert (policy.config.latents, policy.config.actions) == (3, 8)


def test_a_robot_needs_no_jax(exported):
    code = (
        "import sys\n"
        "for name in ('jax', 'jaxlib', 'flax', 'orbax', 'optax', 'tqdm', 'ml_collections'):\n"
        "    sys.modules[name] = None\n"
        "import numpy as np\n"
        "from vidact.robot.policy import Policy\n"
        "policy = Policy.load(sys.argv[1])\n"
        "image, state = np.zeros((32, 32, 3), np.uint8), np.zeros(5, np.float32)\n"
        "print(*policy.act(image, state, 'open', seed=0).shape)\n"
    )
    command = [sys.executable, "-c", code, str(exported)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["8", "3"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(image=np.zeros((2, 16, 32, 3), np.uint8)), r"image: uint8 \(16, 32, 3\)"),
        (dict(image=np.zeros((2, 32, 32, 4), np.uint8)), r"image: uint8 \(32, 32, 4\)"),
        (dict(state=np.zeros((2, 4), np.float32)), r"state: shape \(2, 4\)"),
        (dict(state=np.full((2, 5), np.nan, np.float32)), "state: not finite"),
        (dict(instruction=["open"]), "instruction: 1 for 2"),
        (dict(steps=0), "steps: 0"),
    ],
)
def test_it_refuses_what_does_not_fit(policy, seen, change, message):
    given = dict(image=seen[0], state=seen[1], instruction=TEXTS) | change
    with pytest.raises(UserError, match=message):
        policy.act(**given)


def test_actions_that_are_not_finite_never_reach_the_robot(policy, seen):
    latents, chunk = policy.noise(2, seed=0)
    with pytest.raises(UserError, match="actions: not finite"):
        policy.act(*seen, TEXTS, noise=(latents, chunk * torch.inf))


@pytest.fixture
def damaged(exported, tmp_path):
    return pathlib.Path(shutil.copytree(exported, tmp_path / "copy"))


@pytest.mark.parametrize("name", [policy_lib.MODEL, policy_lib.CODEC, "config.json"])
def test_a_missing_or_damaged_file_is_named(damaged, name):
    (damaged / name).write_bytes(b"no such thing")
    with pytest.raises(UserError, match=name):
        Policy.load(damaged)
    (damaged / name).unlink()
    with pytest.raises(UserError, match=f"{name}: no such file"):
        Policy.load(damaged)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere.*no such file"):
        Policy.load(tmp_path / "nowhere")


def test_tensors_that_are_missing_unknown_or_misshapen_are_all_named(damaged):
    path = damaged / policy_lib.MODEL
    tensors = safetensors.numpy.load_file(path)
    del tensors["bridges.1.video.qkv.bias"]
    tensors["video.stranger"] = np.zeros(2, np.float32)
    tensors["action.blocks.0.mlp.fc1.bias"] = np.zeros(3, np.float32)
    safetensors.numpy.save_file(tensors, path)
    with pytest.raises(UserError) as error:
        Policy.load(damaged)
    told = str(error.value)
    for name in ("bridges.1.video.qkv.bias", "video.stranger", "action.blocks.0.mlp.fc1.bias"):
        assert name in told
    assert "\n" not in told


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.pop("fps"),
        lambda c: c.update(unknown=1),
        lambda c: c["model"].pop("depth"),
        lambda c: c["statistics"].pop("state"),
        lambda c: c["statistics"]["state"].pop("q01"),
    ],
)
def test_a_configuration_says_everything_and_no_more(damaged, change):
    path = damaged / "config.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    with pytest.raises(UserError, match=r"config\.json: not a robot's configuration"):
        Policy.load(damaged)


def test_a_codec_of_other_sizes_is_refused(damaged):
    run = build.run()
    other = dataclasses.replace(run)
    vars(other)["codec"] = build.codec(size=16)
    (damaged / policy_lib.CODEC).unlink()
    export.write(other, damaged)
    with pytest.raises(UserError, match="mean"):
        Policy.load(damaged)
