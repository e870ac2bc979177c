"""From the statistics of a value to the range that its int8 grid spans: one function for each observer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from prunus.passes.operators.quantized import INT8_HIGH, INT8_LOW
from prunus.passes.quantize.statistics import Statistics

STEPS = INT8_HIGH - INT8_LOW
SHARES = 33
"""Shares of each side of the range that `lp`, `mse` and `entropy` try."""


@dataclass(frozen=True)
class Range:
    """From the least to the largest number that the grid holds; what lies outside is clipped."""

    low: float
    high: float


Observer = Callable[[Statistics], Range]


def min_max(seen: Statistics) -> Range:
    """Everything that was seen."""
    return Range(seen.low, seen.high)


def moving_average(seen: Statistics) -> Range:
    """The extremes of a batch, averaged with momentum 0.9: single outliers count little."""
    return Range(seen.moving_low, seen.moving_high)


def quantile(seen: Statistics, share: float = 0.99999) -> Range:
    """All but the outermost `1 - share` of the numbers on each side; half a bin is the resolution.

    A value that never is below 0, such as ReLU's, loses nothing at 0.
    """
    sums = seen.counts.cumsum(0) / seen.counts.sum()
    width = (seen.high - seen.low) / len(sums)
    first = int(torch.searchsorted(sums, 1 - share, right=True))
    last = int(torch.searchsorted(sums, share))
    return Range(seen.low + first * width, seen.low + min(last + 1, len(sums)) * width)


def lp(seen: Statistics, power: float = 3.0) -> Range:
    """The range with the least L_p norm of the error of rounding and clipping (Nahshan et al. 2021, arXiv:1911.07190).

    With `power` above 2 clipping weighs more than in the mean square: a few hundred samples hardly know the tails of
    what the model will see.
    """
    return min(_candidates(seen), key=lambda tried: _error(seen, tried, power))


def mse(seen: Statistics) -> Range:
    """The range with the least mean square error of rounding and clipping together."""
    return lp(seen, power=2.0)


def entropy(seen: Statistics) -> Range:
    """The range whose 256 steps keep most of the distribution: least Kullback-Leibler divergence (Migacz, 2017)."""
    return min(_candidates(seen), key=lambda tried: _divergence(seen, tried))


OBSERVERS: dict[str, Observer] = {
    "min_max": min_max,
    "moving_average": moving_average,
    "quantile": quantile,
    "lp": lp,
    "mse": mse,
    "entropy": entropy,
}
NEED_HISTOGRAM = frozenset({"quantile", "lp", "mse", "entropy"})


def _candidates(seen: Statistics) -> Iterator[Range]:
    """Yield ranges: shares of what lies above 0, with shares of what lies below; the whole range first."""
    low, high = min(seen.low, 0.0), max(seen.high, 0.0)
    shares = torch.linspace(1.0, 0.2, SHARES).tolist()
    for below in shares if low < 0 else [1.0]:
        for above in shares if high > 0 else [1.0]:
            yield Range(low * below, high * above)


def _error(seen: Statistics, tried: Range, power: float) -> float:
    values = seen.centres
    scale = max((tried.high - tried.low) / STEPS, 1e-30)
    rounded = torch.round((values.clamp(tried.low, tried.high) - tried.low) / scale) * scale + tried.low
    return float(((rounded - values).abs().pow(power) * seen.counts).sum())


def _divergence(seen: Statistics, tried: Range) -> float:
    """Return KL(P | Q): P clips into its outermost bins, Q spreads each step evenly over the bins that P fills."""
    values, counts = seen.centres, _without_zeros(seen)
    inside = (values >= tried.low) & (values <= tried.high)
    if not bool((counts * inside).any()):
        return float("inf")
    first, last = (int(index) for index in inside.nonzero().flatten()[[0, -1]])
    clipped = counts[first : last + 1].clone()
    reference = clipped.clone()
    reference[0] += counts[:first].sum()
    reference[-1] += counts[last + 1 :].sum()
    step = torch.div(torch.arange(len(clipped)) * (STEPS + 1), len(clipped), rounding_mode="floor")
    filled = reference > 0
    total = torch.zeros(STEPS + 1, dtype=torch.float64).index_add_(0, step, clipped)
    support = torch.zeros(STEPS + 1, dtype=torch.float64).index_add_(0, step, filled.double())
    approximated = (total / support.clamp_min(1))[step]
    return _kullback_leibler(reference[filled], approximated[filled])


def _without_zeros(seen: Statistics) -> Tensor:
    """Return the counts with the bin of 0 as full as its neighbours.

    0 is a step of every grid, so the many zeros of a ReLU lose nothing; spread over the bins of a step they would
    seem to, and the narrowest range would win.
    """
    counts = seen.counts.clone()
    if seen.low <= 0.0 <= seen.high and seen.low < seen.high:
        zero = min(int(-seen.low / (seen.high - seen.low) * len(counts)), len(counts) - 1)
        counts[zero] = torch.cat([counts[max(zero - 1, 0) : zero], counts[zero + 1 : zero + 2]]).mean()
    return counts


def _kullback_leibler(p: Tensor, q: Tensor) -> float:
    """Return the divergence of two positive histograms; where only `q` is empty it counts as one part in a million."""
    p, q = p / p.sum(), q.clamp_min(1e-6 * float(q.sum())) / q.sum()
    return float((p * (p / q).log()).sum())
