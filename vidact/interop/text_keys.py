"""The names of T5's and CLIP's weights in published files (specs/videovla.md)."""

import re

from vidact.interop.names import Layout

T5 = Layout(
    renames=(
        ("^shared$", "shared/weight"),
        # Every block uses the table that the first one holds.
        (
            "^encoder/relative_bias$",
            "encoder/block/0/layer/0/SelfAttention/relative_attention_bias/weight",
        ),
        ("/attn/", "/layer/0/SelfAttention/"),
        ("/attn_norm/", "/layer/0/layer_norm/"),
        ("/mlp/", "/layer/1/DenseReluDense/"),
        ("/mlp_norm/", "/layer/1/layer_norm/"),
    ),
    stacked="^encoder/block/",
)

CLIP = Layout(
    renames=(
        ("^(embeddings/.*)$", r"\1/weight"),
        ("/([qkv]|out)_proj/", r"/self_attn/\1_proj/"),
        ("/(fc[12])/", r"/mlp/\1/"),
    ),
    stacked="^encoder/layers/",
)

_COPY = "encoder.embed_tokens.weight"
_T5_DECODER = re.compile(r"decoder\.|lm_head\.")
_CLIP_ELSE = re.compile(
    r"embeddings\.position_ids$|vision_model\.|visual_projection\.|text_projection\.|logit_scale$"
)


def t5_name(name: str) -> str | None:
    """A T5 file's name as the layout `T5` has it, or None for what the encoder lacks.

    The embeddings are in files as `shared.weight`, `encoder.embed_tokens.weight`, or both. Files
    of a whole T5 also hold a decoder, which is left out.
    """
    if _T5_DECODER.match(name):
        return None
    return "shared.weight" if name == _COPY else name


def clip_name(name: str) -> str | None:
    """A CLIP file's name as the layout `CLIP` has it: without `text_model.`.

    Left out are the table 0, 1, 2, ... of older files, and what belongs to CLIP's vision or lies
    behind the pooled state.
    """
    short = name.removeprefix("text_model.")
    return None if _CLIP_ELSE.match(short) else short
