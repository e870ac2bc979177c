"""What a trial measures: time on this processor. `emulation.py` has the other meter, for foreign ones."""

import statistics
from typing import Protocol

from prunus.backends.tune.noise import gain, is_faster
from prunus.backends.tune.record import Source
from prunus.backends.tune.trial import Candidate, Trials

_SHORT_S, _LONG_S = 0.05, 0.15


class Meter(Protocol):
    """Measures kernels of one target."""

    source: Source

    def cost(self, candidate: Candidate) -> float:
        """Return what one call costs, in nanoseconds (measured) or cycles (estimated)."""

    def gain(self, candidate: Candidate, incumbent: Candidate) -> float:
        """Return how many times faster the candidate is, 1 where that is not beyond noise.

        Raises:
            TrialError: the candidate failed.
        """


class Stopwatch:
    """Measures time on this processor.

    Args:
        other_bytes: memory that the network touches between two calls of a kernel.
    """

    source = Source.MEASURED

    def __init__(self, trials: Trials, *, other_bytes: int) -> None:
        self._trials, self._other_bytes = trials, other_bytes

    def cost(self, candidate: Candidate) -> float:
        rounds = self._trials.time(candidate, candidate, seconds=_SHORT_S / 2, other_bytes=self._other_bytes)
        return statistics.median(time for pair in rounds for time in pair)

    def gain(self, candidate: Candidate, incumbent: Candidate) -> float:
        smallest = float("inf")
        # What looks faster must be so once more, longer and in a new process with other memory.
        for seconds in (_SHORT_S, _LONG_S):
            rounds = self._trials.time(candidate, incumbent, seconds=seconds, other_bytes=self._other_bytes)
            if not is_faster(rounds):
                return 1.0
            smallest = min(smallest, gain(rounds))
        return smallest
