"""How many removals make a graph fast enough: a search by quick answers that settled ones correct."""

from collections.abc import Callable
from dataclasses import dataclass, field

# Times of this share of the budget are near enough.
NEAR = 0.95
# Counts that are settled where quick answers point, before the search halves what is left.
_GUESSES = 4


@dataclass
class Search:
    """Times of a graph after the first so many of an order of removals.

    Attributes:
        length: of the order.
        quick: tells the time after a number of removals, roughly.
        settle: tells it as well as can be, and makes quick answers better.
    """

    length: int
    quick: Callable[[int], float]
    settle: Callable[[int], float]
    _known: dict[int, float] = field(default_factory=dict, repr=False)

    def settled(self, count: int) -> float:
        """Return the settled time, asked for once."""
        if count not in self._known:
            self._known[count] = self.settle(count)
        return self._known[count]

    def shortest(self, target: float) -> int:
        """Return the least count that is fast enough, or one near it; all of the order are.

        Quick answers say where to look, and what is settled there corrects them; if that takes long, halving goes on.
        """
        slow, fast, guesses = 0, self.length, 0
        while fast - slow > 1 and self.settled(fast) < target * NEAR:
            count = self._guess(target, slow, fast) if guesses < _GUESSES else (slow + fast) // 2
            guesses += 1
            slow, fast = (slow, count) if self.settled(count) <= target else (count, fast)
        return fast

    def _guess(self, target: float, slow: int, fast: int) -> int:
        """Return by quick answers the least count strictly between two others that is fast enough."""
        last = fast - 1
        while fast - slow > 1:
            middle = (slow + fast) // 2
            slow, fast = (slow, middle) if self._best(middle) <= target else (middle, fast)
        return min(fast, last)

    def _best(self, count: int) -> float:
        return self._known[count] if count in self._known else self.quick(count)
