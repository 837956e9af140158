"""Two modalities denoised together by rectified flow: the loss and the sampler of a family."""

import abc
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Shaped

from vidact.inputs import Chunk, Inputs, Observation, SampleRequest
from vidact.models.covar.config import CoVARConfig
from vidact.models.covar.refiner import ActionRefiner
from vidact.models.covar.text_encoder import TextEncoder
from vidact.models.protocol import Losses, ModalityLoss
from vidact.nn import layers
from vidact.processes import joint_time, rectified_flow


class JointFlow(nnx.Module):
    """What every model that predicts both velocities at once has in common.

    A subclass sets `config`, calls `_add_text_and_refiner` and defines `velocities`.

    Attributes:
      config: sizes and switches, a `vidact.models.covar.config.CoVARConfig`.
      text_encoder: maps word ids to embeddings and is trained along; None for stored embeddings.
      y_embedding: the null text [L, D].
      refiner: turns coarse actions into precise ones, or None.
    """

    config: Any
    text_encoder: Any
    y_embedding: layers.Buffer
    refiner: Any

    def _add_text_and_refiner(self, config: CoVARConfig, rngs: nnx.Rngs) -> None:
        """Sets what every family has beside its network."""
        self.text_encoder = nnx.data(TextEncoder(config, rngs=rngs) if config.text_depth else None)
        null = jax.random.normal(rngs.params(), (config.max_words, config.text_width))
        self.y_embedding = layers.Buffer(null / config.text_width**0.5)
        self.refiner = nnx.data(ActionRefiner(config, rngs=rngs) if config.refiner_depth else None)

    def encode_text(
        self,
        text: Int[Array, "b l"] | Float[Array, "b l d"],
        mask: Bool[Array, "b l"],
        drop: Bool[Array, "b"] | None = None,
    ) -> Float[Array, "b l d"]:
        """Text embeddings; rows with `drop` True get the null embedding (specs/opensora.md 6).

        Word ids pass through the trained encoder, embeddings of a frozen one stay as they are.
        """
        if self.text_encoder is not None:
            text = self.text_encoder(text, mask)
        if drop is None:
            return text
        null = self.y_embedding[...][: text.shape[1]]
        return jnp.where(drop[:, None, None], null, text)

    @abc.abstractmethod
    def velocities(
        self,
        latents: Float[Array, "b n h w c"],
        actions: Float[Array, "b m a"],
        t_video: Float[Array, "b n"],
        t_action: Float[Array, "b m"],
        observation: Observation,
        text: Float[Array, "b l d"],
        latent_mask: Bool[Array, "b n"],
        action_mask: Bool[Array, "b m"],
    ) -> tuple[Float[Array, "b n h w c"], Float[Array, "b m a"]]:
        """The model itself: velocities of both modalities, each token at its own time.

        Every family has its own; this class is only what they share.

        Args:
          latents: noisy latents, the clean condition first.
          actions: noisy normalised actions.
          t_video: per latent frame, 0 where it is clean.
          t_action: per action.
          observation: state, text mask and fps are read.
          text: from `encode_text`.
          latent_mask: False = padding, never attended to.
          action_mask: False = padding, never attended to.
        """

    def loss(self, inputs: Inputs, key: Array, t: Float[Array, "b 2"] | None = None) -> Losses:
        """Velocity regression of both modalities (CoVAR section 3; specs/opensora.md 4).

        Args:
          inputs: a batch behind the encoders; one with coarse actions trains the refiner alone.
          key: draws times, noise and text dropout.
          t: fixed (t_video, t_action) per sample, for an evaluation loss; text is kept then.

        Returns:
          For "video" and "action", or for "refiner": the mean squared error per sample, its weight,
          the share of elements that carry a label, and its time. A model that does not imagine has
          no loss of video.
        """
        config, b = self.config, inputs.actions.shape[0]
        if inputs.coarse is not None:
            return {"refiner": self._refinement(inputs)}
        time_key, video_key, action_key, text_key = jax.random.split(key, 4)
        drop = None
        if t is None:
            t = joint_time.draw(
                time_key,
                b,
                sampler=config.times,
                shift=config.shift(inputs.latents.shape[1:4]),
                mode_share=config.mode_share,
                policy_share=config.policy_share,
            )
            if config.text_dropout:
                drop = jax.random.uniform(text_key, (b,)) < config.text_dropout
        clean = self._seen(jnp.concatenate([inputs.condition, inputs.latents[:, 1:]], axis=1))
        latent_mask = self._seen(inputs.latent_mask)
        t_video = jnp.repeat(t[:, :1], clean.shape[1], axis=1).at[:, 0].set(0.0)
        t_action = jnp.repeat(t[:, 1:], inputs.actions.shape[1], axis=1)
        noise = jax.random.normal(video_key, clean.shape)
        action_noise = jax.random.normal(action_key, inputs.actions.shape)
        step_mask = inputs.action_mask.any(-1)
        v_video, v_action = self.velocities(
            rectified_flow.interpolate(clean, noise, t_video),
            rectified_flow.interpolate(inputs.actions, action_noise, t_action),
            t_video,
            t_action,
            _observation(inputs),
            self.encode_text(inputs.text, inputs.text_mask, drop),
            latent_mask,
            step_mask,
        )
        target = rectified_flow.velocity(inputs.actions, action_noise)
        action_error = jnp.square(v_action - target)
        losses = {"action": ModalityLoss(*masked_mean(action_error, inputs.action_mask), t[:, 1])}
        if not config.imagine:
            return losses
        video_error = jnp.square(v_video - rectified_flow.velocity(clean, noise)).mean((2, 3, 4))
        video_mask = latent_mask.at[:, 0].set(False)
        return {"video": ModalityLoss(*masked_mean(video_error, video_mask), t[:, 0]), **losses}

    def _refinement(self, inputs: Inputs) -> ModalityLoss:
        """Squared error of the refined actions (CoVAR section 3, action refinement)."""
        assert self.refiner is not None, "the model was made without a refiner"
        text = self.encode_text(inputs.text, inputs.text_mask)
        refined = self.refiner(inputs.coarse, inputs.condition, text, inputs.text_mask)
        error = jnp.square(refined - inputs.actions)
        return ModalityLoss(*masked_mean(error, inputs.action_mask), jnp.zeros(error.shape[0]))

    def _seen(self, frames: Shaped[Array, "b n *s"]) -> Shaped[Array, "b k *s"]:
        """The frames that the model works on: all, or the first where it does not imagine."""
        return frames if self.config.imagine else frames[:, :1]

    def sample(self, observation: Observation, key: Array, request: SampleRequest) -> Chunk:
        """Draws the noise and denoises; see `denoise`."""
        video_key, action_key = jax.random.split(key)
        b, _, h, w, c = observation.condition.shape
        noise = Chunk(
            latents=jax.random.normal(video_key, (b, request.latents, h, w, c)),
            actions=jax.random.normal(action_key, (b, request.actions, self.config.action_dim)),
        )
        return self.denoise(observation, noise, request)

    def denoise(self, observation: Observation, noise: Chunk, request: SampleRequest) -> Chunk:
        """Euler steps from given noise in one of the five modes; the first frame is always clean.

        Modalities that a mode pins at t = 1 stay noise, those at t = 0 are taken from the
        observation. The refiner, where there is one, corrects generated actions once at the end.
        """
        config, latents, actions = self.config, noise.latents, noise.actions
        if request.mode == "inverse":
            latents = _given(observation.latents, "inverse", "latents")
        if request.mode == "forward":
            actions = _given(observation.actions, "forward", "actions")
        whole = jnp.concatenate([observation.condition, latents[:, 1:]], axis=1)
        latents = self._seen(whole)
        shift = config.shift(noise.latents.shape[1:4])
        args = (request.mode, request.steps, request.action_steps, shift, config.order)
        times = jnp.asarray(joint_time.schedule(*args))

        texts = self._texts(observation, request)

        def step(carry, pair):
            (latents, actions), (now, after) = carry, pair
            v_video, v_action = self._guided(latents, actions, now, observation, texts, request)
            later = rectified_flow.euler_step(latents[:, 1:], v_video[:, 1:], now[0], after[0])
            latents = jnp.concatenate([latents[:, :1], later], axis=1)
            return (latents, rectified_flow.euler_step(actions, v_action, now[1], after[1])), None

        steps = (times[:-1], times[1:])
        (latents, actions), _ = jax.lax.scan(step, (latents, actions), steps)
        if self.refiner is not None and request.refine and request.mode != "forward":
            mask = observation.text_mask
            actions = self.refiner(actions, observation.condition, texts[0], mask)
        return Chunk(latents=latents if config.imagine else whole, actions=actions)

    def _texts(self, observation: Observation, request: SampleRequest):
        """The text's embeddings and, where a modality is guided, the null text's."""
        text, mask = observation.text, observation.text_mask
        kept = self.encode_text(text, mask)
        if request.video_guidance == request.action_guidance == 1.0:
            return (kept,)
        return kept, self.encode_text(text, mask, jnp.ones(mask.shape[:1], bool))

    def _guided(self, latents, actions, now, observation, texts, request: SampleRequest):
        """Velocities at the times `now`, with classifier-free guidance per modality."""
        b, n, m = latents.shape[0], latents.shape[1], actions.shape[1]
        t_video = jnp.full((b, n), now[0]).at[:, 0].set(0.0)
        t_action = jnp.full((b, m), now[1])
        masks = (jnp.ones((b, n), bool), jnp.ones((b, m), bool))
        args = (latents, actions, t_video, t_action, observation)
        v_video, v_action = self.velocities(*args, texts[0], *masks)
        if len(texts) == 1:
            return v_video, v_action
        u_video, u_action = self.velocities(*args, texts[1], *masks)
        v_video = u_video + request.video_guidance * (v_video - u_video)
        return v_video, u_action + request.action_guidance * (v_action - u_action)


def masked_mean(
    error: Float[Array, "b *n"], mask: Bool[Array, "b *n"]
) -> tuple[Float[Array, "b"], Float[Array, "b"]]:
    """Mean of each sample's labelled elements [B] and their share [B]."""
    axes = tuple(range(1, error.ndim))
    labelled = mask.astype(jnp.float32)
    total = (error.astype(jnp.float32) * labelled).sum(axes)
    return total / jnp.maximum(labelled.sum(axes), 1.0), labelled.mean(axes)


def _given(value, mode: str, field: str):
    if value is None:
        raise ValueError(f"mode {mode} needs observation.{field}")
    return value


def _observation(inputs: Inputs) -> Observation:
    return Observation(
        condition=inputs.condition,
        state=inputs.state,
        text=inputs.text,
        text_mask=inputs.text_mask,
        fps=inputs.fps,
    )
