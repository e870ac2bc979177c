"""Searches that ask for few settled answers."""

import pytest

from prunus.passes.prune.search import NEAR, Search


class Machine:
    """A machine whose times fall by one from 100, and a guess that is off by a factor until times are settled."""

    def __init__(self, factor: float, *, learns: bool) -> None:
        self.factor, self.learns, self.asked = factor, learns, list[int]()

    def quick(self, count: int) -> float:
        return self.factor * (100 - count)

    def settle(self, count: int) -> float:
        self.asked.append(count)
        self.factor = 1.0 if self.learns else self.factor
        return 100.0 - count


@pytest.mark.parametrize("learns", [True, False])
@pytest.mark.parametrize("factor", [0.01, 0.8, 1.0, 1.3, 50.0])
@pytest.mark.parametrize("target", [95.0, 50.0, 10.0])
def test_finds_a_count_near_the_target(factor: float, target: float, learns: bool) -> None:
    machine = Machine(factor, learns=learns)
    count = Search(99, machine.quick, machine.settle).shortest(target)
    assert NEAR * target <= 100 - count <= target
    assert len(machine.asked) == len(set(machine.asked)) <= (4 if learns else 12)


def test_steps_that_are_too_coarse_stay_below_the_target() -> None:
    times = [100.0, 80.0, 79.0, 30.0, 29.0]
    search = Search(4, times.__getitem__, times.__getitem__)
    assert search.shortest(60.0) == 3
    assert search.settled(3) == 30.0
