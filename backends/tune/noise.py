"""Whether one kernel is faster than another, beyond noise."""

import statistics
from collections.abc import Sequence
from math import comb

# Smaller gains are not worth code of their own, and clocks of shared machines drift by as much.
LEAST_GAIN = 1.015
# The chance that a kernel that is no faster wins so many rounds, by the sign test.
_CHANCE = 0.02


def gain(rounds: Sequence[tuple[float, float]]) -> float:
    """Return how much faster the first of two kernels is: the median over rounds of the ratio of their times.

    Neighbouring rounds share the state of the machine, so that ratios are quieter than times.
    """
    return statistics.median(other / own for own, other in rounds)


def is_faster(rounds: Sequence[tuple[float, float]]) -> bool:
    """Tell whether the first kernel gains at least `LEAST_GAIN`, and did not get there by chance."""
    count, wins = len(rounds), sum(own < other for own, other in rounds)
    chance = sum(comb(count, k) for k in range(wins, count + 1)) / 2**count
    best = min(other for _, other in rounds) / min(own for own, _ in rounds)
    return gain(rounds) >= LEAST_GAIN and best > 1 and chance < _CHANCE
