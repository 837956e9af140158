"""Instructions become ids or stored embeddings; what is not stored is asked of the network once."""

import numpy as np
import pytest

from configs import base
from vidact.encoders.text import reader
from vidact.errors import UserError
from vidact.text import tokenize


def settings(**encoder):
    config = base.get_config()
    config.data.max_words = 4
    config.encoder.update(encoder)
    return config


def test_words_are_ids():
    ids, mask = reader.open_reader(settings())(["open the drawer", ""])
    wanted = tokenize(["open the drawer", ""], 4, 1024)
    np.testing.assert_array_equal(ids, wanted[0])
    np.testing.assert_array_equal(mask, wanted[1])


def test_stored_embeddings_are_padded_and_cut():
    rows = {"a": np.ones((2, 3), np.float16), "long": np.full((9, 3), 2, np.float16)}
    found, mask = reader.open_reader(settings(text="t5"), rows)(["long", "a", "a"])
    assert found.dtype == np.float32 and found.shape == (3, 4, 3)
    np.testing.assert_array_equal(mask.sum(1), [4, 2, 2])
    np.testing.assert_array_equal(found[1, :, 0], [1, 1, 0, 0])


def test_an_unknown_text_without_a_network_is_named():
    read = reader.open_reader(settings(text="t5"), {"a": np.ones((2, 3))})
    with pytest.raises(UserError, match=r"instruction 'b': .*config\.encoder\.text_weights"):
        read(["a", "b"])


def test_the_network_is_loaded_and_asked_once():
    asked = []

    class Network:
        def embed(self, texts):
            asked.extend(texts)
            return [np.full((1, 3), 7, np.float32)]

    read = reader.Embeddings({"a": np.ones((2, 3), np.float32)}, 4, Network)
    for _ in range(2):
        found, _ = read(["b", "a", "b"])
        np.testing.assert_array_equal(found[:, 0, 0], [7, 1, 7])
    assert asked == ["b"]
