"""The video stream: Open-Sora 1.2's STDiT3 (specs/opensora.md 1), with time per frame."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from vidact.models.covar.config import CoVARConfig
from vidact.nn import embeddings, layers, rope
from vidact.nn.dit_block import DiTBlock
from vidact.nn.linear import Linear
from vidact.nn.mlp import MLP
from vidact.nn.norms import modulate

TIME_SCALE = 1000.0  # STDiT3 was trained on t in 0..1000
LATENT_PIXELS = 8  # pixels per latent side, for the position scale


def patches(latents: Float[Array, "b t h w c"], patch: int) -> Float[Array, "b t s e"]:
    """Squares of `patch` latents, row by row, padded with zeros (specs/opensora.md 1.2 step 2)."""
    b, t, h, w, c = latents.shape
    p = patch
    latents = jnp.pad(latents, ((0, 0), (0, 0), (0, -h % p), (0, -w % p), (0, 0)))
    rows, columns = latents.shape[2] // p, latents.shape[3] // p
    x = latents.reshape(b, t, rows, p, columns, p, c).transpose(0, 1, 2, 4, 6, 3, 5)
    return x.reshape(b, t, rows * columns, c * p * p)


class TimeEmbedder(nnx.Module):
    """t (and a scalar condition such as fps) to the modulation of blocks and of the last layer."""

    def __init__(self, width: int, *, rngs: nnx.Rngs, dtype=jnp.float32):

        self.t_embedder = embeddings.ScalarEmbedder(width, rngs=rngs, dtype=dtype)
        self.fps_embedder = embeddings.ScalarEmbedder(width, rngs=rngs, zero=True, dtype=dtype)
        self.t_block = Linear(width, 6 * width, rngs=rngs, dtype=dtype)

    def __call__(
        self, t: Float[Array, "b n"], fps: Float[Array, "b"]
    ) -> tuple[Float[Array, "b n c"], Float[Array, "b n 6 c"]]:
        """Embedding [B, N, C] and adaLN-single modulation [B, N, 6, C] of t in [0, 1]."""
        embedded = self.t_embedder(t * TIME_SCALE) + self.fps_embedder(fps)[:, None]
        t6 = self.t_block(jax.nn.silu(embedded))
        return embedded, t6.reshape(*t.shape, 6, -1)


class TemporalRoPE(nnx.Module):
    """The frequencies of the temporal blocks, which STDiT3 stores (specs/opensora.md 1.4, 2).

    Released weights may hold them rounded to bfloat16; what was stored is used.
    """

    def __init__(self, head_dim: int):
        self.freqs = layers.Buffer(jnp.asarray(rope.frequencies(head_dim)))


class FinalLayer(nnx.Module):
    """Modulated norm and projection (specs/opensora.md 1.7).

    Open-Sora normalises and modulates conditioning frames twice. Their output is never used, so
    here every frame is treated alike; `VideoDiT.reference` repeats it.
    """

    def __init__(self, width: int, out: int, *, rngs: nnx.Rngs, dtype=jnp.float32):

        table = jax.random.normal(rngs.params(), (2, width), jnp.float32) / width**0.5
        self.scale_shift_table = nnx.Param(table)
        self.linear = Linear(width, out, rngs=rngs, dtype=dtype)

    def __call__(
        self, x: Float[Array, "b t s c"], embedded: Float[Array, "b t c"]
    ) -> Float[Array, "b t s o"]:
        return self.linear(self.modulated(x, embedded))

    def modulated(
        self, x: Float[Array, "b t s c"], embedded: Float[Array, "b #t c"]
    ) -> Float[Array, "b t s c"]:
        """What the projection sees."""
        table = (self.scale_shift_table[...] + embedded[:, :, None]).astype(x.dtype)
        return modulate(x, table[:, :, :1], table[:, :, 1:])


def final_layer(config: CoVARConfig, rngs: nnx.Rngs) -> FinalLayer:
    """The last layer of a video head, for all values that it predicts of a patch."""
    out = config.patch**2 * config.latent_channels * (2 if config.learn_sigma else 1)
    return FinalLayer(config.video_width, out, rngs=rngs, dtype=config.compute_dtype)


class VideoEnds(nnx.Module):
    """Latents to tokens and tokens to velocities, whatever lies between.

    A subclass sets the attributes.

    Attributes:
      config: patch and video_width are read.
      x_embedder: a patch's values to a token.
      final_layer: a token to its patch's velocities.
    """

    config: CoVARConfig
    x_embedder: Linear
    final_layer: FinalLayer

    def embed(
        self, latents: Float[Array, "b t h w c"], pixels: tuple[float, float] | None = None
    ) -> Float[Array, "b t s e"]:
        """Patches to tokens with 2-D positions (specs/opensora.md 1.2 steps 2 and 5).

        Args:
          latents: noisy latents.
          pixels: height and width of the frames, which scale the positions; by default 8 for each
            latent.
        """
        h, w, p = *latents.shape[2:4], self.config.patch
        rows, columns = -(-h // p), -(-w // p)
        tokens = self.x_embedder(patches(latents, p))
        height, width = pixels or (h * LATENT_PIXELS, w * LATENT_PIXELS)
        position = embeddings.position_2d(
            rows,
            columns,
            self.config.video_width,
            scale=float(np.sqrt(height * width)) / 512,
            base=round((rows * columns) ** 0.5),
        )
        return tokens + jnp.asarray(position, tokens.dtype)

    def head(
        self,
        x: Float[Array, "b t s e"],
        embedded: Float[Array, "b t e"],
        shape: tuple[int, ...],
    ) -> Float[Array, "b t h w c"]:
        """Velocity of latents of `shape` [B, T, H, W, C] (specs/opensora.md 1.7 and 1.8)."""
        return self._unpatchify(self.final_layer(x, embedded), shape)[..., : shape[-1]]

    def _unpatchify(self, out: Float[Array, "b t s o"], shape: tuple[int, ...]):
        """All channels that the last layer predicts, as latents of `shape`."""
        b, t, h, w, _ = shape
        p = self.config.patch
        rows, columns = -(-h // p), -(-w // p)
        out = out.reshape(b, t, rows, columns, p, p, -1)
        out = out.transpose(0, 1, 2, 4, 3, 5, 6).reshape(b, t, rows * p, columns * p, -1)
        return out[:, :, :h, :w]


class VideoDiT(VideoEnds):
    """Patch embedding, the stacked blocks and the velocity head of the video stream."""

    def __init__(self, config: CoVARConfig, *, rngs: nnx.Rngs):
        width, dtype, p = config.video_width, config.compute_dtype, config.patch

        self.config = config
        self.x_embedder = Linear(p * p * config.latent_channels, width, rngs=rngs, dtype=dtype)
        self.time = TimeEmbedder(width, rngs=rngs, dtype=dtype)
        self.y_proj = MLP(config.text_width, width, width, rngs=rngs, dtype=dtype)
        self.rope = TemporalRoPE(width // config.video_heads)
        args = (width, config.video_heads, config.mlp_ratio)
        self.spatial_blocks = layers.stack(
            config.depth,
            lambda r: DiTBlock(*args, axis="space", zero=False, rngs=r, dtype=dtype),
            rngs,
        )
        self.temporal_blocks = layers.stack(
            config.depth,
            lambda r: DiTBlock(*args, axis="time", zero=True, rngs=r, dtype=dtype),
            rngs,
        )
        self.final_layer = final_layer(config, rngs)

    def rotation(self, frames: int):
        """RoPE of the temporal blocks at latent frames 0..T-1."""
        return rope.rotation(jnp.arange(frames, dtype=jnp.float32), self.rope.freqs[...])

    def __call__(
        self,
        latents: Float[Array, "b t h w c"],
        t: Float[Array, "b t"],
        text: Float[Array, "b l d"],
        text_mask: Bool[Array, "b l"] | None,
        fps: Float[Array, "b"],
        pixels: tuple[float, float] | None = None,
    ) -> Float[Array, "b t h w c"]:
        """Velocity without an action stream: STDiT3 itself; `pixels` as in `embed`."""
        x, embedded = self.features(latents, t, text, text_mask, fps, pixels)
        return self.head(x, embedded, latents.shape)

    def reference(
        self,
        clean: Bool[Array, "b t"],
        latents: Float[Array, "b t h w c"],
        t: Float[Array, "b t"],
        text: Float[Array, "b l d"],
        text_mask: Bool[Array, "b l"] | None,
        fps: Float[Array, "b"],
        pixels: tuple[float, float] | None = None,
    ) -> Float[Array, "b t h w o"]:
        """All that STDiT3 returns, what nobody reads included, for comparing with it.

        That is the variance's channels, and the conditioning frames as its last layer distorts
        them: first it modulates them by the time of the others (specs/opensora.md 1.7).

        Args:
          clean: the conditioning frames; the other arguments are those of `__call__`.
        """
        x, embedded = self.features(latents, t, text, text_mask, fps, pixels)
        x = jnp.where(clean[:, :, None, None], self.distorted(x, t, fps), x)
        return self._unpatchify(self.final_layer(x, embedded), latents.shape)

    def distorted(
        self, x: Float[Array, "b t s e"], t: Float[Array, "b t"], fps: Float[Array, "b"]
    ) -> Float[Array, "b t s e"]:
        """Tokens modulated once by the latest time among their clip's frames."""
        latest, _ = self.time(t.max(axis=1, keepdims=True), fps)
        return self.final_layer.modulated(x, latest)

    def features(
        self,
        latents: Float[Array, "b t h w c"],
        t: Float[Array, "b t"],
        text: Float[Array, "b l d"],
        text_mask: Bool[Array, "b l"] | None,
        fps: Float[Array, "b"],
        pixels: tuple[float, float] | None = None,
    ) -> tuple[Float[Array, "b t s e"], Float[Array, "b t e"]]:
        """Tokens before the last layer, and the embedding of time that modulates it."""
        x, y = self.embed(latents, pixels), self.y_proj(text)
        embedded, t6 = self.time(t, fps)
        rotation = self.rotation(latents.shape[1])

        def body(x, blocks):
            spatial, temporal = blocks
            x = spatial(x, t6, y, text_mask)
            return temporal(x, t6, y, text_mask, rotation)

        stacks = (self.spatial_blocks, self.temporal_blocks)
        config = self.config
        x = layers.scan(body, x, stacks, remat=config.remat, unroll=config.unroll)
        return x, embedded
