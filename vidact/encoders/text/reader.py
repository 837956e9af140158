"""From instructions to what a model reads: word ids, or embeddings of a frozen network."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np
from flax import nnx
from jaxtyping import Bool, Float, Int

from vidact.encoders import frozen
from vidact.encoders.text import tokenizers
from vidact.errors import UserError
from vidact.text import tokenize

KINDS = ("words", "t5", "clip")
Texts = Sequence[str]
# From B texts to ids [B, L] or embeddings [B, L, D], and the mask [B, L].
Reader = Callable[[Texts], tuple[np.ndarray, np.ndarray]]


def open_reader(
    config: ml_collections.ConfigDict, stored: Mapping[str, np.ndarray] | None = None
) -> Reader:
    """The reader of a configuration.

    Args:
      config: the whole configuration.
      stored: embeddings by text, of `vidact.encode`; the network is loaded only for others.
    """
    encoder, data = config.encoder, config.data
    if encoder.text == "words":
        return functools.partial(tokenize, max_words=data.max_words, vocabulary=data.vocabulary)
    network = functools.cache(lambda: Network(encoder, data.max_words))
    return Embeddings(dict(stored or {}), data.max_words, network)


class Network:
    """A tokenizer and a frozen text encoder."""

    def __init__(self, encoder: ml_collections.ConfigDict, length: int):
        """Loads `config.encoder`'s; texts are cut to `length` tokens.

        Raises:
          UserError: its files are missing or damaged.
        """
        if not (encoder.text_weights and encoder.tokenizer):
            raise UserError(
                f"config.encoder.text={encoder.text!r}: no embedding of it is stored; set "
                "config.encoder.text_weights and config.encoder.tokenizer, or store it with "
                "python -m vidact.encode"
            )
        self._tokenizer = tokenizers.load(encoder.tokenizer, length)
        network = frozen.load(encoder.text_weights, encoder.text, encoder.dtype)
        graphdef, state = nnx.split(network)
        self._run = functools.partial(_run, graphdef, _spread(state))

    def embed(self, texts: Texts) -> list[Float[np.ndarray, "l D"]]:
        """The hidden states of each text's own tokens, float32."""
        ids, mask = self._tokenizer(texts)
        hidden = np.asarray(self._run(ids, mask))
        return [row[real] for row, real in zip(hidden, mask, strict=True)]


class Embeddings:
    """Embeddings by text; what is not known is asked of the network, once."""

    def __init__(
        self,
        known: dict[str, Float[np.ndarray, "l D"]],
        length: int,
        network: Callable[[], Network],
    ):
        """Args: known: by text. length: L. network: loads it when it is needed."""
        self._known, self._length, self._network = known, length, network

    def __call__(self, texts: Texts) -> tuple[Float[np.ndarray, "B L D"], Bool[np.ndarray, "B L"]]:
        """Embeddings, float32 and zero where nothing is, and the mask of real tokens."""
        for text in dict.fromkeys(texts):
            if text not in self._known:
                self._known[text] = self._ask(text)
        rows = [self._known[text][: self._length] for text in texts]
        found = np.zeros((len(rows), self._length, rows[0].shape[1]), np.float32)
        mask = np.zeros(found.shape[:2], bool)
        for out, real, row in zip(found, mask, rows, strict=True):
            out[: len(row)], real[: len(row)] = row, True
        return found, mask

    def _ask(self, text: str) -> Float[np.ndarray, "l D"]:
        try:
            return self._network().embed([text])[0]
        except UserError as error:
            raise UserError(f"instruction {text!r}: {error}") from error


@functools.partial(jax.jit, static_argnums=0)
def _run(graphdef, state, ids: Int[Any, "B L"], mask: Bool[Any, "B L"]):
    hidden = nnx.merge(graphdef, state)(ids, mask)
    return hidden[0] if isinstance(hidden, tuple) else hidden  # CLIP returns a pooled state too


def _spread(state: Any) -> Any:
    """Weights over this process's devices, along their last axis where it divides."""
    mesh = jax.sharding.Mesh(jax.local_devices(), ("device",))

    def put(array):
        split = array.ndim > 1 and array.shape[-1] % mesh.size == 0
        axes = (*(None,) * (array.ndim - 1), "device") if split else ()
        return jax.device_put(array, jax.NamedSharding(mesh, jax.P(*axes)))

    return jax.tree.map(put, state)
