"""CoVAR (2512.16023): a video DiT and an action DiT, denoised together across bridges."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from vidact.inputs import Chunk, Inputs, Observation, SampleRequest
from vidact.models.covar import bridge
from vidact.models.covar.action_dit import ActionDiT
from vidact.models.covar.config import CoVARConfig
from vidact.models.covar.text_encoder import TextEncoder
from vidact.models.covar.video_dit import VideoDiT
from vidact.models.protocol import Losses, ModalityLoss
from vidact.nn import layers
from vidact.processes import joint_time, rectified_flow


class CoVAR(nnx.Module):
    """Both streams, their bridges, and the text encoder where it is trained along."""

    def __init__(self, config: CoVARConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.video = VideoDiT(config, rngs=rngs)
        self.action = ActionDiT(config, rngs=rngs)
        self.bridges = layers.stack(
            config.depth // config.bridge_every, lambda r: bridge.make(config, r), rngs
        )
        self.text_encoder = nnx.data(TextEncoder(config, rngs=rngs) if config.text_depth else None)
        null = jax.random.normal(rngs.params(), (config.max_words, config.text_width))
        self.y_embedding = layers.Buffer(null / config.text_width**0.5)

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
        config, text_mask = self.config, observation.text_mask
        b, n = t_video.shape
        x, y = self.video.embed(latents), self.video.y_proj(text)
        a, ya = self.action.embed(actions, observation.state), self.action.y_proj(text)
        t_action = jnp.pad(t_action, ((0, 0), (1, 0)))  # the state token is clean
        video_time, t6 = self.video.time(t_video, observation.fps)
        action_time, a6 = self.action.time(t_action, observation.fps)
        turn_video, turn_action = self.video.rotation(n), self.action.rotation(actions.shape[1])
        turn_bridge = bridge.rotations(config, n, x.shape[2], actions.shape[1])
        across = bridge.visibility_bias(config.visibility, n, x.shape[2], a.shape[1])
        in_time = bridge.first_frame_bias(config.visibility, n)
        # A sample without any action is a video: its state is not seen either.
        tokens = jnp.concatenate([action_mask.any(1, keepdims=True), action_mask], axis=1)
        seen = jnp.concatenate([jnp.repeat(latent_mask, x.shape[2], axis=1), tokens], axis=1)

        def streams(carry, blocks):
            (x, a), (spatial, temporal, action) = carry, blocks
            x = spatial(x, t6, y, text_mask)
            x = temporal(x, t6, y, text_mask, turn_video, latent_mask, in_time)
            return x, action(a, a6, ya, text_mask, turn_action, tokens)

        def body(carry, blocks):
            *some, link = blocks
            if config.bridge_every == 1:
                x, a = streams(carry, some)
            else:
                x, a = layers.scan(streams, carry, tuple(some), unroll=config.bridge_every)
            return link(x, a, turn_bridge, seen, across)

        own: tuple[nnx.Module, ...]
        own = (self.video.spatial_blocks, self.video.temporal_blocks, self.action.blocks)
        if config.bridge_every > 1:
            own = tuple(layers.grouped(stack, config.bridge_every) for stack in own)
        stacks = (*own, self.bridges)
        x, a = layers.scan(body, (x, a), stacks, remat=config.remat, unroll=config.unroll)
        v_video = self.video.head(x, video_time, latents.shape)
        return v_video, self.action.decode(a, action_time, action_mask)

    def loss(self, inputs: Inputs, key: Array, t: Float[Array, "b 2"] | None = None) -> Losses:
        """Velocity regression of both modalities (CoVAR section 3; specs/opensora.md 4).

        Args:
          inputs: a batch behind the encoders.
          key: draws times, noise and text dropout.
          t: fixed (t_video, t_action) per sample, for an evaluation loss; text is kept then.

        Returns:
          For "video" and "action": the mean squared error per sample, its weight, the share of
          elements that carry a label, and its time.
        """
        config, b = self.config, inputs.actions.shape[0]
        time_key, video_key, action_key, text_key = jax.random.split(key, 4)
        drop = None
        if t is None:
            t = joint_time.draw(
                time_key,
                b,
                sampler=config.times,
                shift=config.time_shift,
                mode_share=config.mode_share,
                policy_share=config.policy_share,
            )
            if config.text_dropout:
                drop = jax.random.uniform(text_key, (b,)) < config.text_dropout
        clean = jnp.concatenate([inputs.condition, inputs.latents[:, 1:]], axis=1)
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
            inputs.latent_mask,
            step_mask,
        )
        video_error = jnp.square(v_video - rectified_flow.velocity(clean, noise))
        target = rectified_flow.velocity(inputs.actions, action_noise)
        action_error = jnp.square(v_action - target)
        video_mask = inputs.latent_mask.at[:, 0].set(False)
        return {
            "video": ModalityLoss(*masked_mean(video_error.mean((2, 3, 4)), video_mask), t[:, 0]),
            "action": ModalityLoss(*masked_mean(action_error, inputs.action_mask), t[:, 1]),
        }

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
        observation.
        """
        latents, actions = noise.latents, noise.actions
        if request.mode == "inverse":
            latents = _given(observation.latents, "inverse", "latents")
        if request.mode == "forward":
            actions = _given(observation.actions, "forward", "actions")
        latents = jnp.concatenate([observation.condition, latents[:, 1:]], axis=1)
        shift = self.config.time_shift
        line = joint_time.schedule(request.mode, request.steps, request.action_steps, shift)
        times = jnp.asarray(line)

        texts = self._texts(observation, request)

        def step(carry, pair):
            (latents, actions), (now, after) = carry, pair
            v_video, v_action = self._guided(latents, actions, now, observation, texts, request)
            later = rectified_flow.euler_step(latents[:, 1:], v_video[:, 1:], now[0], after[0])
            latents = jnp.concatenate([latents[:, :1], later], axis=1)
            return (latents, rectified_flow.euler_step(actions, v_action, now[1], after[1])), None

        steps = (times[:-1], times[1:])
        (latents, actions), _ = jax.lax.scan(step, (latents, actions), steps)
        return Chunk(latents=latents, actions=actions)

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
