"""The small text encoder; see `vidact.models.covar.text_encoder`."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vidact.robot.attention import SelfAttention
from vidact.robot.config import Sizes
from vidact.robot.layers import MLP, layer_norm

HEADS = 4


class TextBlock(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int):
        super().__init__()
        self.attn = SelfAttention(width, HEADS)
        self.mlp = MLP(width, 4 * width, width)

    def forward(
        self, x: Float[Tensor, "b l d"], mask: Bool[Tensor, "b l"]
    ) -> Float[Tensor, "b l d"]:
        x = x + self.attn(layer_norm(x), key_mask=mask)
        return x + self.mlp(layer_norm(x))


class TextEncoder(nn.Module):
    """Word ids (`vidact.text`) to embeddings: a table, learned positions and a few blocks."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        width = sizes.text_width
        self.words = nn.Parameter(torch.zeros(sizes.vocabulary, width))
        self.positions = nn.Parameter(torch.zeros(sizes.max_words, width))
        self.blocks = nn.ModuleList(TextBlock(width) for _ in range(sizes.text_depth))

    def forward(self, ids: Int[Tensor, "b l"], mask: Bool[Tensor, "b l"]) -> Float[Tensor, "b l d"]:
        x = self.words[ids] + self.positions
        for block in self.blocks:
            x = block(x, mask)
        return layer_norm(x)
