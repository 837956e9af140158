"""A robot loads an exported folder and acts, as the JAX model would."""

import concurrent.futures
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
from vidact.evaluation import sampling
from vidact.inputs import Chunk
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


def expected(run, images, states, noise):
    """What the JAX side makes of the same noise as `vidact.evaluate` samples, in robot units."""
    own, method, settings = run.own, run.config.data.normalisation, run.config.evaluate
    words, mask = text.tokenize(TEXTS, build.CONFIG.max_words, build.CONFIG.vocabulary)
    normalised = np.zeros((len(states), build.CONFIG.state_dim), np.float32)
    normalised[:, : states.shape[1]] = actions.normalise(states, own["state"], method)
    fps = np.full(len(images), run.fps, np.float32)
    observation = encode.observation(run.codec, images, normalised, words, mask, fps)
    start = Chunk(*(jnp.asarray(x.numpy()) for x in noise))
    request = sampling.request(run.config, settings.mode, settings.steps)
    with jax.default_matmul_precision("highest"):
        denoise = jax.jit(
            lambda o, n: run.model.denoise(o, n, request), compiler_options=build.FAST
        )
        chunk = np.asarray(denoise(observation, start).actions)
    width = len(own["action"].mean)
    return actions.denormalise(chunk[..., :width], own["action"], method)


def changed(folder, **evaluate):
    """A run that is evaluated otherwise, and the policy that it is exported as."""
    run = build.run()
    other = dataclasses.replace(run, config=run.config.copy_and_resolve_references())
    other.config.evaluate.update(evaluate)
    vars(other)["codec"] = run.codec
    export.write(other, folder)
    return other, Policy.load(folder)


@pytest.mark.parametrize(
    "evaluate",
    [
        dict(steps=2, action_steps=5, action_guidance=1.5),
        dict(mode="joint", steps=4, action_steps=2, video_guidance=2.0, action_guidance=1.5),
    ],
)
def test_it_acts_as_the_evaluation_does(tmp_path, seen, evaluate):
    run, policy = changed(tmp_path, **evaluate)
    noise = policy.noise(2, seed=0)
    found = policy.act(*seen, TEXTS, noise=noise)
    wanted = expected(run, *seen, noise)
    print(f"act: {np.abs(found - wanted).max():.1e}")
    assert found.dtype == np.float32
    assert found.shape == (2, 8, build.CONFIG.action_dim)
    assert np.abs(found - wanted).max() < 1e-4


def test_of_a_mixture_it_acts_as_one_robot_with_its_own_columns(tmp_path, seen):
    run, (images, states) = build.run(), seen
    narrow = {kind: build.measured(width) for kind, width in (("action", 2), ("state", 4))}
    sets = {"wide": run.own, "narrow": narrow}
    mixture = dataclasses.replace(
        run,
        statistics=sets,
        rates={"wide": 20.0, "narrow": 5.0},
        config=run.config.copy_and_resolve_references(),
    )
    mixture.config.evaluate.data_set = "narrow"
    vars(mixture)["codec"] = run.codec
    export.write(mixture, tmp_path)
    policy = Policy.load(tmp_path)
    noise = policy.noise(2, seed=0)
    found = policy.act(images, states[:, :4], TEXTS, noise=noise)
    assert found.shape == (2, 8, 2)
    assert np.abs(found - expected(mixture, images, states[:, :4], noise)).max() < 1e-4
    assert (policy.config.data_set, policy.config.fps) == ("narrow", 5.0)
    with pytest.raises(UserError, match=r"state: shape \(2, 5\); must be \(2, 4\), .* narrow's"):
        policy.act(images, states, TEXTS)


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


def test_it_knows_where_it_comes_from(policy):
    assert policy.config.data_set == "own"
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
        (dict(steps=0), "action_steps=0: at least one"),
        (dict(guidance=np.inf), "action_guidance=inf: must be finite"),
    ],
)
def test_it_refuses_what_does_not_fit(policy, seen, change, message):
    given = dict(image=seen[0], state=seen[1], instruction=TEXTS) | change
    with pytest.raises(UserError, match=message):
        policy.act(**given)


@pytest.mark.parametrize("name", ["gpu", "cuda:77", "mps", "hpu"])
def test_a_device_that_is_not_there_is_named_in_one_line(exported, name):
    with pytest.raises(UserError, match=f"device '{name}': .*; choose another, or cpu") as error:
        Policy.load(exported, device=name)
    assert "\n" not in str(error.value)


def test_a_camera_s_read_only_frame_does(policy, seen, recwarn):
    image = np.frombuffer(seen[0][0].tobytes(), np.uint8).reshape(32, 32, 3)
    found = policy.act(image, seen[1][0], TEXTS[0], seed=0)
    assert np.array_equal(found, policy.act(seen[0][0], seen[1][0], TEXTS[0], seed=0))
    assert not recwarn.list


def test_threads_may_share_a_policy(policy, seen):
    def act(seed: int) -> np.ndarray:
        return policy.act(*seen, TEXTS, seed=seed)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(act, range(4)))
    for seed, chunk in enumerate(found):
        assert np.array_equal(chunk, act(seed))


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
        lambda c: c["sampling"].update(mode="video"),
        lambda c: c["sampling"].update(steps=0),
        lambda c: c["model"].update(action_dim=2),
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
