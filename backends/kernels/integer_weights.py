"""Weights of integer layers in words of four input channels, and which weights the fast instructions take.

Where products are added up in int16, weights must be so small that they fit there. Quantisation asks here before it
settles on steps, so that its layers run on the fast path; weights that come from elsewhere take a slower one if need
be.
"""

import numpy as np
import torch

from prunus.backends.kernels import integer_dot
from prunus.backends.kernels.integer_dot import WORD
from prunus.backends.kernels.integer_tile import Run
from prunus.targets import Target


def linear_words(weight: torch.Tensor) -> np.ndarray:
    """Return weights (outputs, inputs, ...) as (words, outputs, 4)."""
    array = weight.numpy().reshape(weight.shape[0], -1).T
    return Run(array.shape[0]).spread(array)


def convolution_words(weight: torch.Tensor, groups: int, *, folded: bool) -> np.ndarray:
    """Return weights (outputs, inputs, taps...) as (groups, kernel rows, runs, words, outputs, 4).

    Args:
        folded: a kernel row is one run, its taps and channels together.
    """
    array = weight.numpy()
    array = array[:, :, None, :] if array.ndim == 3 else array
    outputs, inputs, *taps = array.shape
    runs = array.reshape(groups, outputs // groups, inputs, *taps).transpose(0, 3, 4, 2, 1)
    if folded:
        runs = runs.reshape(groups, taps[0], 1, taps[1] * inputs, -1)
    return Run(runs.shape[3]).spread(runs)


def folds(in_channels: int, taps: int) -> bool:
    """Tell whether a kernel row of dense pixels has fewer words as one run than tap by tap."""
    return taps > 1 and (in_channels < WORD or Run(taps * in_channels).words < taps * Run(in_channels).words)


def depthwise_words(weight: torch.Tensor) -> np.ndarray:
    """Return weights (channels, 1, taps...) as (words, channels, 4), four kernel rows a word.

    All words of the first kernel column come first, then those of the next.
    """
    array = weight.numpy()
    channels, taps = len(array), array[:, 0] if array.ndim == 4 else array
    padded = np.pad(taps, [(0, 0), (0, -taps.shape[1] % WORD), (0, 0)])
    by_word = padded.reshape(channels, -1, WORD, taps.shape[2]).transpose(3, 1, 0, 2)
    return np.ascontiguousarray(by_word).reshape(-1, channels, WORD)


def suit(weight: torch.Tensor, groups: int, target: Target) -> torch.Tensor:
    """Tell for each output channel whether the target's fastest instructions take its weights, as they like them.

    Args:
        weight: (outputs, inputs / groups, taps...) int8, of a linear layer or a convolution; any of the outputs will
            do, since each has words of its own.
    """
    dot = integer_dot.choices(target)[0]
    _, inputs, *taps = weight.shape
    if inputs == 1 and groups > 1:
        # Depthwise layers gain little from further words: their time goes into reading and rounding.
        return torch.from_numpy(dot.take(depthwise_words(weight), 1))
    if taps and np.prod(taps) > 1:
        words = convolution_words(weight, 1, folded=groups == 1 and folds(inputs, taps[-1]))
    else:
        words = linear_words(weight)
    return torch.from_numpy(dot.take(words, dot.aim))
