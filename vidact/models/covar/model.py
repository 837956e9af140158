"""CoVAR (2512.16023): a video DiT and an action DiT, denoised together across bridges."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from vidact.inputs import Observation
from vidact.models.covar import action_dit, bridge, visibility
from vidact.models.covar.action_dit import ActionDiT
from vidact.models.covar.config import CoVARConfig
from vidact.models.covar.video_dit import VideoDiT
from vidact.models.joint_flow import JointFlow
from vidact.nn import layers, lora


class CoVAR(JointFlow):
    """Both streams and their bridges, the text encoder where it is trained along, the refiner."""

    def __init__(self, config: CoVARConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.video = VideoDiT(config, rngs=rngs)
        self.action = ActionDiT(config, rngs=rngs)
        self.bridges = layers.stack(
            config.depth // config.bridge_every, lambda r: bridge.make(config, r), rngs
        )
        self._add_text_and_refiner(config, rngs)
        if config.lora_rank:  # last: the draws above are those of a model without factors
            for blocks in (self.video.spatial_blocks, self.video.temporal_blocks):
                lora.add(blocks, config.lora_rank, config.lora_alpha, rngs)

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
        """The model itself; see `JointFlow.velocities`."""
        given = (latents, actions, t_video, t_action, observation, text, latent_mask, action_mask)
        return self._forward(*given)[0]

    def return_attention(
        self,
        latents: Float[Array, "b n h w c"],
        actions: Float[Array, "b m a"],
        t_video: Float[Array, "b n"],
        t_action: Float[Array, "b m"],
        observation: Observation,
        text: Float[Array, "b l d"],
        latent_mask: Bool[Array, "b n"],
        action_mask: Bool[Array, "b m"],
    ) -> Float[Array, "k b 2 2"]:
        """The attention mass between modalities in each of the K bridges, for looking at a model.

        Entry [k, b, i, j] is what the queries of modality i (0 = video, 1 = state and actions) give
        to the keys of modality j, averaged over heads and real queries; rows sum to 1. Arguments
        are those of `velocities`. There is nothing to see without a bridge.
        """
        given = (latents, actions, t_video, t_action, observation, text, latent_mask, action_mask)
        return self._forward(*given, collect=True)[1]

    def _forward(
        self,
        latents: Float[Array, "b n h w c"],
        actions: Float[Array, "b m a"],
        t_video: Float[Array, "b n"],
        t_action: Float[Array, "b m"],
        observation: Observation,
        text: Float[Array, "b l d"],
        latent_mask: Bool[Array, "b n"],
        action_mask: Bool[Array, "b m"],
        collect: bool = False,
    ):
        config, text_mask = self.config, observation.text_mask
        b, n = t_video.shape
        x, y = self.video.embed(latents), self.video.y_proj(text)
        a, ya = self.action.embed(actions, observation.state), self.action.y_proj(text)
        t_action = jnp.pad(t_action, ((0, 0), (1, 0)))  # the state token is clean
        video_time, t6 = self.video.time(t_video, observation.fps)
        action_time, a6 = self.action.time(t_action, observation.fps)
        turn_video, turn_action = self.video.rotation(n), self.action.rotation(actions.shape[1])
        turn_bridge = bridge.rotations(config, n, x.shape[2], actions.shape[1])
        across = visibility.bias(config.visibility, n, x.shape[2], a.shape[1])
        in_time = visibility.first_frame_bias(config.visibility, n)
        tokens = action_dit.keys(action_mask)
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
            args = (x, a, turn_bridge, seen, across)
            return (link(*args), link.mass(*args)) if collect else link(*args)

        own: tuple[nnx.Module, ...]
        own = (self.video.spatial_blocks, self.video.temporal_blocks, self.action.blocks)
        if config.bridge_every > 1:
            own = tuple(layers.grouped(stack, config.bridge_every) for stack in own)
        stacks = (*own, self.bridges)
        how = dict(remat=config.remat, unroll=config.unroll)
        result = layers.scan(body, (x, a), stacks, collect=collect, **how)
        (x, a), masses = result if collect else (result, None)
        v_video = self.video.head(x, video_time, latents.shape)
        return (v_video, self.action.decode(a, action_time, action_mask)), masses
