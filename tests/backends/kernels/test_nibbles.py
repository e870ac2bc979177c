"""Weights of four bits, two in a byte."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from prunus.backends.kernels import nibbles
from prunus.backends.kernels.integer_tile import Run, pairs

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 9))


@given(SHAPES.flatmap(lambda shape: arrays(np.int8, shape, elements=st.integers(-8, 7))))
def test_halves_of_bytes_are_neighbouring_words(words: np.ndarray) -> None:
    packed = nibbles.pack_pairs(words).astype(np.int64) % 256
    for word in range(words.shape[1]):
        half = packed[:, word // 2] // 16 if word % 2 else packed[:, word // 2] % 16
        assert np.array_equal(half - 8, words[:, word])
    assert packed.shape[1] == Run(4 * words.shape[1], paired=True).stored_words


def test_weights_are_paired_where_that_saves_bytes() -> None:
    small, large = np.array([-8, 7], np.int8), np.array([-8, 8], np.int8)
    assert pairs(small, 2)
    assert not pairs(large, 2)
    assert not pairs(small, 1)
