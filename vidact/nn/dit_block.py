"""The DiT block with adaLN-single that the video and the action stream are both made of."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from vidact.nn import placement
from vidact.nn.attention import CrossAttention, Rotation, SelfAttention
from vidact.nn.mlp import MLP
from vidact.nn.norms import modulate
from vidact.nn.placement import grid, line, place


class DiTBlock(nnx.Module):
    """Self-attention, text cross-attention and MLP, modulated by time (specs/opensora.md 1.6).

    The token grid is [B, T, S, C]. `axis` chooses what attends to what: "space" lets the S tokens
    of one frame see each other, "time" the T tokens of one place. A stream without space (the
    actions) has S = 1 and attends over time.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        mlp_ratio: float,
        *,
        axis: str,
        zero: bool,
        rngs: nnx.Rngs,
        dtype=jnp.float32,
    ):
        table = jax.random.normal(rngs.params(), (6, width), jnp.float32) / width**0.5
        args = dict(rngs=rngs, zero=zero, dtype=dtype)
        self.axis = axis
        self.scale_shift_table = nnx.Param(table)
        self.attn = SelfAttention(width, heads, **args)
        self.cross_attn = CrossAttention(width, heads, **args)
        self.mlp = MLP(width, int(width * mlp_ratio), width, **args)

    def __call__(
        self,
        x: Float[Array, "b t s c"],
        t6: Float[Array, "b t 6 c"],
        text: Float[Array, "b l c"],
        text_mask: Bool[Array, "b l"] | None,
        rotation: Rotation | None = None,
        frame_mask: Bool[Array, "b t"] | None = None,
        bias: Float[Array, "1 t t"] | None = None,
    ) -> Float[Array, "b t s c"]:
        """Applies the block.

        Args:
          x: tokens.
          t6: per-frame modulation from the time embedding: shift, scale and gate of the attention,
            then of the MLP. Conditioning frames carry the modulation of t = 0.
          text: projected text.
          text_mask: True = a real word.
          rotation: RoPE table for attention over time.
          frame_mask: False = padding, never a key of attention over time.
          bias: added to the logits of attention over time.
        """
        x = _placed(x)
        table = (self.scale_shift_table[...] + t6).astype(x.dtype)
        spread = (over_places(table[:, :, i], x.shape[2]) for i in range(6))
        shift1, scale1, gate1, shift2, scale2, gate2 = spread
        h = self._self_attention(modulate(x, shift1, scale1), rotation, frame_mask, bias)
        x = x + gate1 * h
        x = x + grid(self.cross_attn(line(x), text, text_mask), x.shape[1])
        return x + gate2 * self._mlp(modulate(x, shift2, scale2))

    def _mlp(self, x: Float[Array, "b t s c"]) -> Float[Array, "b t s c"]:
        """A line only where `context` asks for one: of a grid XLA keeps more on a TPU's chip."""
        if placement.parts("context") == 1:
            return self.mlp(x)
        return grid(self.mlp(line(x)), x.shape[1])

    def _self_attention(self, x, rotation, frame_mask, bias):
        """Each frame's places see each other, or each place's frames; `context` splits the rest."""
        if self.axis == "space":
            each = _sequences(x, placement.parts("context"))
            return _placed(_sequences(self.attn(each)))[:, : x.shape[1]]
        each = _sequences(x.swapaxes(1, 2))
        mask = frame_mask if frame_mask is None else jnp.repeat(frame_mask[:, None], x.shape[2], 1)
        return _sequences(self.attn(each, rotation, mask, bias)).swapaxes(1, 2)


def _placed(x: Float[Array, "b t s c"]) -> Float[Array, "b t s c"]:
    """Between the layers: places are split; a stream without space has none to split."""
    return place(x, "tokens" if x.shape[2] > 1 else "line")


def _sequences(x: Float[Array, "b m n c"], multiple: int = 1) -> Float[Array, "b k n c"]:
    """For attention over n: the m sequences are split, filled up with zeros to a multiple."""
    if x.shape[1] == 1:
        return x
    return place(jnp.pad(x, ((0, 0), (0, -x.shape[1] % multiple), (0, 0), (0, 0))), "sequences")


def over_places(x: Float[Array, "b t c"], places: int) -> Float[Array, "b t s c"]:
    """A frame's values for each of its places, as a product with ones; see `norms.scale_rows`."""
    ones = jnp.ones((*x.shape[:2], places), x.dtype)
    return jnp.einsum("bts,btc->btsc", ones, x, precision="highest")
