"""The robot's CoVAR computes what the JAX model computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from tests.robot import build
from vidact.evaluation import robot as evaluation_robot
from vidact.inputs import SampleRequest
from vidact.processes import joint_time
from vidact.robot import sampling

STEPS = 30


def velocities(side: int, count: int):
    """Both models' velocities at the same times, different for every token."""
    rng = np.random.default_rng(4)
    seen = build.observation(side)
    given = (
        seen.latents,
        jnp.asarray(rng.standard_normal((build.BATCH, count, 3)), jnp.float32),
        jnp.asarray(rng.uniform(0, 1, (build.BATCH, build.LATENTS)), jnp.float32),
        jnp.asarray(rng.uniform(0, 1, (build.BATCH, count)), jnp.float32),
    )
    model, theirs = build.jax_model(), build.torch_model()
    masks = (jnp.ones(x.shape, bool) for x in given[2:])
    text = model.encode_text(seen.text, seen.text_mask)
    run = jax.jit(model.velocities, compiler_options=build.FAST)
    with jax.default_matmul_precision("highest"):
        wanted = run(*given, seen, text, *masks)
    observation = build.torch_observation(seen)
    with torch.no_grad():
        text = theirs.encode_text(observation.text, observation.text_mask)
        return theirs.velocities(*map(build.tensor, given), observation, text), wanted


@pytest.mark.parametrize(("side", "count"), [(build.SIDE, build.ACTIONS), (7, 8)])
def test_velocities_agree(side, count):
    found, wanted = velocities(side, count)
    differences = [build.largest(f, w) for f, w in zip(found, wanted, strict=True)]
    print(f"velocities {side}: {differences}")
    assert max(differences) < 3e-5
    assert min(float(jnp.abs(w).max()) for w in wanted) > 0.1


def test_text_encoders_agree_and_never_see_padding():
    seen = build.observation()
    wanted = build.jax_model().encode_text(seen.text, seen.text_mask)
    encode = build.torch_model().encode_text
    words, mask = build.tensor(seen.text), build.tensor(seen.text_mask)
    with torch.no_grad():
        found = encode(words, mask)
        other = encode(torch.where(mask, words, 5), mask)
    assert build.largest(found, wanted) < 1e-5
    assert torch.equal(found[mask], other[mask])


@pytest.mark.parametrize("mode", sampling.MODES)
def test_thirty_steps_agree_in_every_mode(mode):
    found, wanted = _denoise(mode)
    differences = [build.largest(f, w) for f, w in zip(found, wanted, strict=True)]
    print(f"{mode}: {differences}")
    assert max(differences) < 1e-3


def test_guidance_agrees():
    found, wanted = _denoise("joint", video_guidance=2.0, action_guidance=1.5)
    differences = [build.largest(f, w) for f, w in zip(found, wanted, strict=True)]
    print(f"guidance: {differences}")
    assert max(differences) < 1e-3
    plain = _in_torch("joint")
    assert all((f - p).abs().max() > 1e-2 for f, p in zip(found, plain, strict=True))


def _denoise(mode: str, **guidance):
    seen, start = build.observation(), build.noise()
    counts = dict(latents=build.LATENTS, actions=build.ACTIONS)
    request = SampleRequest(mode=mode, steps=STEPS, **counts, **guidance)
    with jax.default_matmul_precision("highest"):
        model = build.jax_model()
        run = jax.jit(lambda o, n: model.denoise(o, n, request), compiler_options=build.FAST)
        wanted = run(seen, start)
    return _in_torch(mode, **guidance), (wanted.latents, wanted.actions)


def _in_torch(mode: str, **guidance):
    seen, start = build.observation(), build.noise()
    return build.torch_model().denoise(
        build.torch_observation(seen),
        build.tensor(seen.latents if mode == "inverse" else start.latents),
        build.tensor(seen.actions if mode == "forward" else start.actions),
        sampling.Request(mode, STEPS, **guidance),
    )


def test_the_schedule_is_the_training_sides():
    assert sampling.MODES == joint_time.MODES
    assert set(sampling.ACTING) == set(evaluation_robot.ACTING)
    for mode in sampling.MODES:
        for shift, steps, action_steps in ((1.0, 7, None), (2.5, 7, 3), (2.5, 3, 7), (2.5, 6, 2)):
            mine = sampling.schedule(sampling.Request(mode, steps, action_steps), shift)
            theirs = joint_time.schedule(mode, steps, action_steps, shift=shift)
            np.testing.assert_allclose(mine, theirs, atol=1e-7)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (dict(mode="backward"), "joint, policy, video, forward, inverse"),
        (dict(steps=0), "steps=0: at least one"),
        (dict(action_steps=-1), "action_steps=-1: at least one"),
        (dict(action_guidance=float("nan")), "action_guidance=nan: must be finite"),
    ],
)
def test_a_request_says_what_it_takes(given, told):
    with pytest.raises(ValueError, match=told):
        sampling.Request(**given)
