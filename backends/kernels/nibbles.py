"""Weights of four bits, two in a byte.

Both are 8 larger than they are, so that masking and one subtraction bring them back: a few instructions for each
register of weights. Tiles that read stored weights have neighbouring words of one register share its bytes, the even
word the lower half and the odd one the upper; where weights are expanded first (`expanded`), the two halves of a block.
"""

import numpy as np

from prunus.backends.kernels.emit import Vector
from prunus.backends.kernels.tir import T
from prunus.backends.kernels.vector_math import lane_dtype, splat

UNPACK_INSTRUCTIONS = 2.5
"""For one register of one word: mask and subtract, every other time after a shift."""
_OFFSET = 8


def fit(weights: np.ndarray) -> bool:
    """Tell whether all weights are in -8..7."""
    return bool((weights >= -_OFFSET).all() and (weights < _OFFSET).all())


def pack_pairs(words: np.ndarray) -> np.ndarray:
    """Return weights (runs, words, n) as bytes (runs, ceil(words / 2), n); an odd last word shares with nothing."""
    shifted = np.pad(words, [(0, 0), (0, words.shape[1] % 2), (0, 0)]).astype(np.uint8) + np.uint8(_OFFSET)
    return (shifted[:, 0::2] | shifted[:, 1::2] << 4).view(np.int8)


def pack_halves(weights: np.ndarray) -> np.ndarray:
    """Return a flat array of weights, an even number, as bytes: the first half of them lower, the second half upper."""
    return pack_pairs(weights.reshape(1, 2, -1)).reshape(-1)


def unpack(pairs: Vector, lanes: int, *, upper: bool) -> Vector:
    """Return the weights in one half of each byte."""
    unsigned = T.bind(T.reinterpret(lane_dtype("uint8", lanes), pairs))
    half = T.shift_right(unsigned, splat(4, "uint8", lanes)) if upper else unsigned & splat(15, "uint8", lanes)
    return T.bind(T.reinterpret(lane_dtype("int8", lanes), half - splat(_OFFSET, "uint8", lanes)))
