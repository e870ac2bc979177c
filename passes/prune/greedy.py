"""The strategy: what matters least for what it saves goes first."""

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from prunus.passes.prune.costs import Costs
from prunus.passes.prune.groups import Group
from prunus.passes.prune.importance import Numbers
from prunus.passes.prune.units import Axes

# A group is cut in at most this many portions, which bounds the time of a plan and how far it may miss a budget.
_PORTIONS = 64


@dataclass(frozen=True)
class Limits:
    """What stays in any case.

    Attributes:
        floor: the least share of each group's units.
        multiple_of: cut so that whole multiples of so many units stay.
    """

    floor: float = 0.1
    multiple_of: int = 1


@dataclass(frozen=True)
class Removal:
    """One portion of a group that goes.

    Attributes:
        group: number of the group.
        units: numbers of its units.
        classes: what goes with them and has not gone before.
        cost: cost of the graph after it.
    """

    group: int
    units: tuple[int, ...]
    classes: frozenset[int]
    cost: float


def removals(
    groups: Sequence[Group],
    importance: Sequence[Numbers],
    axes: Axes,
    costs: Costs,
    limits: Limits,
    gone: frozenset[int] = frozenset(),
) -> Iterator[Removal]:
    """Yield what goes, in order, until the limits forbid more.

    Savings shrink as widths do, so that a price that was looked up earlier is too low at most: the cheapest portion is
    priced anew and goes if it is still the cheapest (lazy greedy).

    What a unit matters grows as its group thins: by the whole group's importance over what would be left of it. In the
    sum that is the fall of the logarithm of the group's importance, and no group is emptied for its price alone.

    Args:
        groups: all of them.
        importance: one number for each unit of each group.
        axes: of the graph as it is now, without `gone`.
        costs: likewise.
        limits: what stays.
        gone: classes that are cut already.
    """
    return _Strategy(groups, importance, axes, costs, limits, gone).run()


class _Strategy:
    def __init__(
        self,
        groups: Sequence[Group],
        importance: Sequence[Numbers],
        axes: Axes,
        costs: Costs,
        limits: Limits,
        gone: frozenset[int],
    ) -> None:
        self.groups, self.importance, self.axes, self.costs, self.limits = groups, importance, axes, costs, limits
        self.gone = set(gone)
        self.sizes = list(axes.sizes)
        self.portions = [self._portions(number) for number in range(len(groups))]
        self.left, self.whole = [], []
        for group, numbers in zip(groups, importance, strict=True):
            there = [place for place, unit in enumerate(group.units) if not unit.classes <= self.gone]
            self.left.append(float(numbers[there].sum()))
            # What has gone is taken to have mattered as much as the mean of the rest.
            self.whole.append(self.left[-1] * len(group.units) / max(1, len(there)))

    def run(self) -> Iterator[Removal]:
        total = self.costs.total(self.sizes)
        heap = [(0.0, number) for number in range(len(self.groups))]
        heapq.heapify(heap)
        while heap:
            _, number = heapq.heappop(heap)
            price = self._price(number)
            if price is None:
                continue
            if heap and price > heap[0][0]:
                heapq.heappush(heap, (price, number))
                continue
            units = self.portions[number].pop()
            classes = self._new(number, units)
            counts = self.axes.counts(classes)
            total -= self.costs.saving(self.sizes, counts)
            for axis, count in counts.items():
                self.sizes[axis] -= count
            self.gone |= classes
            self.left[number] -= float(self.importance[number][list(units)].sum())
            yield Removal(number, units, classes, total)
            heapq.heappush(heap, (price, number))

    def _portions(self, number: int) -> list[tuple[int, ...]]:
        """Return the portions of a group, the last to be taken first; only so many that the floor holds."""
        group, multiple = self.groups[number], self.limits.multiple_of
        left = [place for place, unit in enumerate(group.units) if not unit.classes <= self.gone]
        ranked = sorted(left, key=lambda place: (self.importance[number][place], place))
        stays = max(1, math.ceil(self.limits.floor * len(group.units)))
        stays = math.ceil(stays / multiple) * multiple
        if len(ranked) <= stays:
            return []
        each = multiple * math.ceil(len(group.units) / (_PORTIONS * multiple))
        first = len(ranked) % multiple  # down to a whole multiple
        starts = [0, *range(first or each, len(ranked) - stays, each), len(ranked) - stays]
        parts = [tuple(ranked[low:high]) for low, high in pairwise(starts)]
        return [part for part in parts if part][::-1]

    def _new(self, number: int, units: Sequence[int]) -> frozenset[int]:
        classes = frozenset().union(*(self.groups[number].units[place].classes for place in units))
        return classes - self.gone

    def _price(self, number: int) -> float | None:
        """Return importance per saving of a group's next portion, None if there is none that may go.

        A portion that would leave nothing on some axis ends its group.
        """
        while self.portions[number]:
            units = self.portions[number][-1]
            counts = self.axes.counts(self._new(number, units))
            if not counts:  # gone with units of other groups
                self.portions[number].pop()
                continue
            if any(count >= self.sizes[axis] for axis, count in counts.items()):
                return None
            saving = self.costs.saving(self.sizes, counts)
            if saving <= 0:
                return None
            importance = float(self.importance[number][list(units)].sum())
            left = self.left[number] - importance
            return importance * (self.whole[number] / left if left > 0 else 1.0) / saving
        return None
