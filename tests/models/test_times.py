"""Models are sampled, and their held-out losses taken, along pairs of times that they train on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import spatial

from configs import ablations, base, calvin, covar, libero90, oxe
from vidact.encoders.video.codec import latent_shape
from vidact.errors import UserError
from vidact.inputs import Chunk, Inputs, SampleRequest, observe
from vidact.models import registry
from vidact.models.covar.config import CoVARConfig
from vidact.models.joint_flow import JointFlow
from vidact.processes import joint_time, opensora_flow, support
from vidact.training import checks

CLIPS, ACTIONS, NEAR = 400_000, 2, 0.03
TIMES = ("times", "time_shift", "mode_share", "policy_share", "order")
SEEN: list[list[float]] = []


class Still(JointFlow):
    """A model that moves nothing and remembers the times that it is asked for."""

    def __init__(self, config: CoVARConfig):
        self.config, self.refiner, self.text_encoder = config, None, None

    def velocities(self, latents, actions, t_video, t_action, *_):
        if not isinstance(t_video, jax.core.Tracer):
            SEEN.append([float(t_video[0, -1]), float(t_action[0, -1])])
        return jnp.zeros_like(latents), jnp.zeros_like(actions)


def times_of(config) -> CoVARConfig:
    """What of a configuration's model decides its times; equal for many ablations."""
    known = registry.sizes(config)
    kept = {name: getattr(known, name) for name in TIMES}
    return CoVARConfig(text_dropout=0.0, action_dim=1, **kept)


def inputs(clips, shape) -> Inputs:
    latents = jnp.zeros((clips, *shape, 1))
    return Inputs(
        latents=latents, condition=latents[:, :1], latent_mask=jnp.ones(latents.shape[:2], bool),
        actions=jnp.zeros((clips, ACTIONS, 1)), action_mask=jnp.ones((clips, ACTIONS, 1), bool),
        state=jnp.zeros((clips, 1)), text=jnp.zeros((clips, 1, 1)),
        text_mask=jnp.ones((clips, 1), bool), fps=jnp.ones(clips),
        dataset_id=jnp.zeros(clips, jnp.int32),
    )  # fmt: skip


@functools.cache
def trained(config, shape):
    """Pairs of times that the loss draws."""

    def draw():  # XLA leaves all else out
        losses = Still(config).loss(inputs(CLIPS, shape), jax.random.key(0))
        return jnp.stack([losses[name].t for name in ("video", "action")], axis=1)

    return np.asarray(jax.jit(draw)())


@functools.cache
def sampled(config, shape, mode):
    """Pairs of times that the sampler asks for velocities at."""
    given, start = inputs(1, shape), Chunk(jnp.zeros((1, *shape, 1)), jnp.zeros((1, ACTIONS, 1)))
    request = SampleRequest(mode=mode, latents=shape[0], actions=ACTIONS, steps=30)
    SEEN.clear()
    with jax.disable_jit():
        Still(config).denoise(observe(given), start, request)
    return np.array(SEEN)


@functools.cache
def neighbours(config, shape):
    return spatial.cKDTree(trained(config, shape))


@pytest.mark.parametrize("name", ablations.CHOICES)
def test_every_ablation_is_sampled_where_it_trains(name):
    config = ablations.get_config(name)
    known, shape = times_of(config), latent_shape(config)[:3]
    modes = support.modes(config.model.times, config.model.mode_share)
    assert {"joint", config.evaluate.mode} <= set(modes)
    near = neighbours(known, shape)
    for mode in modes:
        path = sampled(known, shape, mode)
        assert path[0].max() == 1 and len(path) >= 30
        assert near.query(path)[0].max() < NEAR, mode
        if (known.times, mode) == ("asymmetric", "joint"):
            assert (path[:, 0] >= path[:, 1]).all()
    for number, modality in enumerate(("video", "action")):
        pair = support.probes(known.times, 0.35)[modality]
        assert pair[number] == 0.35 and near.query(pair)[0] < NEAR, modality


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model.times": "shared", "model.time_shift": 1.5}, "model.time_shift=1.5: .*'shared'"),
        ({"model.times": "two_stage"}, "model.order='together'"),
        ({"model.times": "shared", "model.mode_share": 0.0}, "evaluate.mode='policy': .* joint$"),
        ({"model.times": "shared", "evaluate.action_steps": 10}, "evaluate.action_steps=10: .*=30"),
        ({"model.times": "asymmetric", "evaluate.action_steps": 10}, "evaluate.action_steps=10"),
        ({"data.frames": 9, "model.time_shift": 0.0}, "model.time_shift=0.0: .* 9 frames"),
    ],
)
def test_paths_that_are_not_trained_are_refused(changes, told):
    config = base.get_config()
    config.update_from_flattened_dict(changes)
    with pytest.raises(UserError, match=rf"^config\.{told}") as error:
        checks.check_sizes(config)
    assert "\n" not in str(error.value)


def test_more_steps_for_the_actions_keep_them_cleaner():
    config = base.get_config()
    config.model.times, config.evaluate.action_steps = "asymmetric", 40
    checks.check_sizes(config)
    path = joint_time.schedule("joint", config.evaluate.sample_steps, 40)
    assert (path[:, 0] >= path[:, 1]).all()


@pytest.mark.parametrize(
    ("config", "clip"),
    [
        (covar.get_config("1b4"), (180, 320, 35)),
        (calvin.get_config(), (200, 200, 35)),
        (libero90.get_config(), (128, 128, 35)),
        (oxe.get_config("bridge"), (192, 256, 35)),
    ],
)
def test_the_time_shift_follows_the_clip(config, clip):
    def shift():
        return registry.sizes(config).shift(latent_shape(config)[:3])

    assert shift() == opensora_flow.ratio(*clip)
    config.data.update(resolution=(256, 256), frames=17)
    assert shift() == opensora_flow.ratio(256, 256, 17)
    config.model.time_shift = 2.0
    assert shift() == 2.0


def test_each_bucket_has_its_own_shift_in_training_and_sampling():
    config = covar.get_config("tiny")
    config.data.update(resolution=(128, 128), buckets=((17, 64, 64), (51, 240, 426)))
    known = times_of(config)
    for shape, clip in (((5, 8, 8), (64, 64, 17)), ((15, 30, 54), (240, 426, 51))):
        times, ratio = trained(known, shape)[:, 0], opensora_flow.ratio(*clip)
        inner = times[(times > 0) & (times < 1)]
        back = inner / (inner + ratio * (1 - inner))  # undoes Open-Sora's transform
        assert abs(np.median(back) - 0.5) < 0.01
        path = sampled(known, shape, "joint")[:, 0]
        np.testing.assert_allclose(path, opensora_flow.times(30, *clip)[:-1], atol=1e-6)
    with pytest.raises(UserError, match=r"no clip of config\.data has \(1, 8, 8\) latents"):
        known.shift((1, 8, 8))
    config.data.buckets = ((35, 120, 128), (35, 128, 120))
    with pytest.raises(UserError, match=r"the clip \(35, 120, 128\) has as many latents as one"):
        registry.sizes(config)
