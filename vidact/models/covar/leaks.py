"""Shows that a model sees nothing that its visibility hides, in every mode.

Examples:
  python -m vidact.models.covar.leaks --config configs/quickstart.py
  python -m vidact.models.covar.leaks --config configs/quickstart.py --config.model.depth=8

For each visibility and mode it changes what must not be seen, samples from the same noise with
random weights, none of them zero, and prints by how much the result moved:
`leak action<-future: 0.0`. What may be seen is changed too, `sees action<-future: 0.13`: there a
leak would have shown. Exits with code 1 if anything leaks.
"""

import dataclasses
import functools
import sys
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import nnx

from vidact import command
from vidact.inputs import Chunk, Observation, SampleRequest
from vidact.models import registry
from vidact.models.covar import config as covar_config
from vidact.models.covar.config import CoVARConfig
from vidact.models.covar.model import CoVAR
from vidact.models.covar.visibility import VISIBILITIES
from vidact.processes import joint_time

FRAMES, SIDE, ACTIONS, WORDS = 3, 4, 4, 3
# (who, what) that a visibility hides. "future" are the frames after the first, "video" all.
HIDDEN: dict[str, tuple[tuple[str, str], ...]] = {
    "joint": (),
    "action_sees_first_frame": (("action", "future"),),
    "action_sees_video": (("video", "action"),),
    "video_sees_action": (("action", "video"), ("action", "future")),
    "separate": (("action", "video"), ("action", "future"), ("video", "action")),
}
PAIRS = (("action", "future"), ("action", "video"), ("video", "action"))
Sample = tuple[Observation, Chunk]
Family = Callable[..., nnx.Module]


def main(arguments: list[str]) -> None:
    """Parses the command line and prints a line per visibility, mode and pair."""
    parser = command.parser(__doc__, "python -m vidact.models.covar.leaks")
    parser.add_argument("--config", required=True, help="a file of configs/")
    options, overrides = parser.parse_known_args(arguments)
    config = command.override(command.load_config(options.config), overrides)
    family, leaked = registry.family(config), False
    for visibility in VISIBILITIES:
        for mode in joint_time.MODES:
            for who, what, moved in measure(sizes_of(config, visibility), mode, family):
                hidden = (who, what) in HIDDEN[visibility]
                leaked |= hidden and moved > 0
                word = "leak" if hidden else "sees"
                print(f"{visibility} {mode}: {word} {who}<-{what}: {number(moved)}", flush=True)
    if leaked:
        sys.exit(1)


def number(change: float) -> str:
    """`0.0` for none at all, else three digits."""
    return "0.0" if change == 0 else f"{change:.3g}"


def sizes_of(config: ml_collections.ConfigDict, visibility: str) -> CoVARConfig:
    """The configuration's model with another visibility, for clips of any size."""
    known = covar_config.from_config(config.model)
    return dataclasses.replace(known, visibility=visibility, time_shift=known.time_shift or 1.0)


def measure(
    config: CoVARConfig, mode: str, family: Family = CoVAR
) -> Iterator[tuple[str, str, float]]:
    """(who, what, largest change of what `who` generates when `what` changes) for each pair.

    A modality that the mode gives is not generated, and one that it pins at noise is changed there.
    """
    run, sample = _sampler(config, mode, family), made_up(config)
    before = run(*sample)
    generated = {
        "action": mode not in ("video", "forward"),
        "video": mode not in ("policy", "inverse"),
    }
    for who, what in PAIRS:
        if generated[who]:
            after = run(*CHANGES[what](*sample))
            pair = [_generated(chunk, who) for chunk in (before, after)]
            yield who, what, float(np.abs(pair[0] - pair[1]).max())


def _generated(chunk: Chunk, who: str) -> np.ndarray:
    return np.asarray(chunk.actions if who == "action" else chunk.latents[:, 1:])


def _sampler(
    config: CoVARConfig, mode: str, family: Family
) -> Callable[[Observation, Chunk], Chunk]:
    """Two Euler steps with random weights."""
    graphdef, shapes = nnx.split(nnx.eval_shape(lambda: family(config, rngs=nnx.Rngs(0))))
    rng = np.random.default_rng(0)
    weights = jax.tree.map(lambda x: jnp.asarray(rng.normal(0, 0.2, x.shape), x.dtype), shapes)
    request = SampleRequest(mode=mode, latents=FRAMES, actions=ACTIONS, steps=2)
    denoise = functools.partial(_denoise, graphdef, request)
    return functools.partial(jax.jit(denoise), weights)


def _denoise(graphdef, request: SampleRequest, weights, observation: Observation, noise: Chunk):
    return nnx.merge(graphdef, weights).denoise(observation, noise, request)


def made_up(config: CoVARConfig) -> Sample:
    """A made-up observation, and noise."""
    rng = np.random.default_rng(1)

    def normal(*shape: int) -> jax.Array:
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    clip, actions = (1, FRAMES, SIDE, SIDE, config.latent_channels), (1, ACTIONS, config.action_dim)
    text = normal(1, WORDS, config.text_width)
    if config.text_depth:
        text = jnp.asarray(rng.integers(1, config.vocabulary, (1, config.max_words)), jnp.int32)
    observation = Observation(
        condition=normal(1, 1, *clip[2:]),
        state=normal(1, config.state_dim),
        text=text,
        text_mask=jnp.ones(text.shape[:2], bool),
        fps=jnp.full((1,), 20.0),
        latents=normal(*clip),
        actions=normal(*actions),
    )
    return observation, Chunk(latents=normal(*clip), actions=normal(*actions))


def _change_action(observation: Observation, noise: Chunk) -> Sample:
    """Everything of the action stream: its noise, the given actions, the state."""
    assert observation.actions is not None
    changed = dataclasses.replace(
        observation, actions=observation.actions + 1, state=observation.state - 1
    )
    return changed, dataclasses.replace(noise, actions=noise.actions - 1)


def _change_future(observation: Observation, noise: Chunk) -> Sample:
    """The frames after the first: their noise, and the given ones."""
    assert observation.latents is not None
    changed = dataclasses.replace(observation, latents=observation.latents.at[:, 1:].add(1))
    return changed, dataclasses.replace(noise, latents=noise.latents.at[:, 1:].add(-1))


def _change_video(observation: Observation, noise: Chunk) -> Sample:
    """All frames."""
    changed, noise = _change_future(observation, noise)
    return dataclasses.replace(changed, condition=observation.condition + 1), noise


CHANGES = {"action": _change_action, "future": _change_future, "video": _change_video}

if __name__ == "__main__":
    command.run(main)
