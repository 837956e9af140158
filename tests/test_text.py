"""Word ids by hashing."""

import numpy as np

from vidact import text


def test_words_case_and_signs():
    ids, mask = text.tokenize(["Open the drawer!", "open, THE drawer", "don't"], 4, 1024)
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(ids[0], ids[1])
    np.testing.assert_array_equal(mask.sum(1), [3, 3, 1])
    np.testing.assert_array_equal(mask, ids != text.PADDING)


def test_ids_are_fixed_for_all_time():
    # Changing these breaks every trained model.
    ids, _ = text.tokenize(["open the drawer"], 3, 1024)
    assert ids.tolist() == [[280, 950, 895]]


def test_empty_instructions_are_a_word_of_their_own():
    ids, mask = text.tokenize(["", "?!"], 3, 64)
    np.testing.assert_array_equal(ids[:, 0], text.EMPTY)
    np.testing.assert_array_equal(mask, [[True, False, False]] * 2)


def test_long_instructions_are_cut_and_ids_stay_in_range():
    ids, mask = text.tokenize([" ".join(map(str, range(100)))], 8, 5)
    assert mask.all()
    assert ids.min() >= 2 and ids.max() < 5
