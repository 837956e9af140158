"""What the text encoders consist of, as a config.json tells it."""

import dataclasses
import pathlib

from vidact.encoders.text.tokenizers import read_json
from vidact.errors import UserError

ACTIVATIONS = ("quick_gelu", "gelu")


@dataclasses.dataclass(frozen=True)
class T5Sizes:
    """What a T5 v1.1 encoder consists of.

    Attributes:
      vocabulary: number of token ids.
      width: of the hidden states (d_model).
      head_width: of each head (d_kv); heads * head_width need not be `width`.
      hidden: of the feed-forward layers (d_ff).
      depth: number of blocks.
      heads: of each attention.
      buckets: of the relative positions.
      far: the distance from which on all positions share a bucket.
      eps: of the norms.
    """

    vocabulary: int
    width: int
    head_width: int
    hidden: int
    depth: int
    heads: int
    buckets: int = 32
    far: int = 128
    eps: float = 1e-6

    @classmethod
    def from_json(cls, path: str | pathlib.Path) -> "T5Sizes":
        """Reads a `config.json` as Hugging Face writes it.

        Raises:
          UserError: it is missing, damaged, or that of another network than T5 v1.1.
        """
        path = pathlib.Path(path)
        found = read_json(path)
        kind, gate = found.get("model_type", "t5"), found.get("feed_forward_proj")
        if (kind, gate) != ("t5", "gated-gelu"):
            raise UserError(
                f"{path}: model_type {kind!r} with feed_forward_proj {gate!r} is no T5 v1.1; "
                "take the folder of one, e.g. t5-v1_1-xxl"
            )
        if missing := [name for name in _T5_NAMES if name not in found]:
            raise UserError(f"{path}: has no {missing[0]}; copy the file again")
        more = {_T5_MORE[name]: found[name] for name in _T5_MORE if name in found}
        return cls(**{_T5_NAMES[name]: found[name] for name in _T5_NAMES}, **more)


# The names of config.json; files before 2021 leave out the second group.
_T5_NAMES = {
    "vocab_size": "vocabulary",
    "d_model": "width",
    "d_kv": "head_width",
    "d_ff": "hidden",
    "num_layers": "depth",
    "num_heads": "heads",
}
_T5_MORE = {
    "relative_attention_num_buckets": "buckets",
    "relative_attention_max_distance": "far",
    "layer_norm_epsilon": "eps",
}


@dataclasses.dataclass(frozen=True)
class CLIPSizes:
    """What a CLIP text model consists of; the defaults are those of a config.json.

    Attributes:
      vocabulary: number of token ids.
      width: of the hidden states.
      hidden: of the feed-forward layers.
      depth: number of layers.
      heads: of each attention.
      positions: the greatest length.
      activation: of the feed-forward layers, "quick_gelu" (OpenAI) or "gelu" (OpenCLIP).
      eps: of the norms.
      eos: id of the token that ends a text.
    """

    vocabulary: int = 49408
    width: int = 512
    hidden: int = 2048
    depth: int = 12
    heads: int = 8
    positions: int = 77
    activation: str = "quick_gelu"
    eps: float = 1e-5
    eos: int = 49407

    @classmethod
    def from_json(cls, path: str | pathlib.Path) -> "CLIPSizes":
        """Reads a `config.json` as Hugging Face writes it, of the text model or of all of CLIP.

        Raises:
          UserError: it is missing, damaged, or names an activation that CLIP does not have.
        """
        path = pathlib.Path(path)
        found = read_json(path)
        found = found.get("text_config", found)
        sizes = cls(**{_CLIP_NAMES[name]: found[name] for name in _CLIP_NAMES if name in found})
        if sizes.activation not in ACTIVATIONS:
            known = " or ".join(ACTIVATIONS)
            raise UserError(f"{path}: hidden_act is {sizes.activation!r}; CLIP has {known}")
        # Files that OpenAI's models came with say 2, but mean the last id as all others do.
        return dataclasses.replace(sizes, eos=sizes.vocabulary - 1) if sizes.eos == 2 else sizes


_CLIP_NAMES = {
    "vocab_size": "vocabulary",
    "hidden_size": "width",
    "intermediate_size": "hidden",
    "num_hidden_layers": "depth",
    "num_attention_heads": "heads",
    "max_position_embeddings": "positions",
    "hidden_act": "activation",
    "layer_norm_eps": "eps",
    "eos_token_id": "eos",
}
