"""Cycles of blocks of AArch64 instructions, estimated: the busiest part of the core decides.

Not modelled: caches and memory, mispredicted branches, the order of instructions. It compares two kernels for one core;
it is no stopwatch. Throughputs: Arm's software optimization guides of Cortex-A72 and A76; for the A53, which has none,
what is known of its pipes: 64 bits of vector loads a cycle, and none beside vector arithmetic.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from prunus.backends.tune.aarch64 import Unit, uses
from prunus.targets import Target


@dataclass(frozen=True)
class Core:
    """A core's throughputs.

    Attributes:
        width: instructions that start in a cycle.
        cycles: of a use of 128 bits, by unit, of all pipes together; units without an entry only take part in `width`.
        alone: cycles of the one pipe that the unit is bound to.
        halves: 64 bits take half of that.
        in_order: vector memory and vector arithmetic take turns.
        accumulation: cycles between two sums in the same register.
    """

    width: int
    cycles: Mapping[Unit, float]
    alone: Mapping[Unit, float]
    halves: bool
    in_order: bool
    accumulation: float


_SMALL = Core(
    2,
    {
        Unit.FLOAT: 1, Unit.MULTIPLY: 1, Unit.PAIRWISE: 1, Unit.DOT: 1, Unit.VECTOR: 1, Unit.VECTOR_LOAD: 2,
        Unit.VECTOR_STORE: 1, Unit.LOAD: 1, Unit.STORE: 1,
    },
    alone={}, halves=True, in_order=True, accumulation=4,
)  # fmt: skip
_MIDDLE = Core(
    3,
    {
        Unit.FLOAT: 1, Unit.MULTIPLY: 0.5, Unit.PAIRWISE: 0.5, Unit.DOT: 1, Unit.VECTOR: 0.5, Unit.VECTOR_LOAD: 1,
        Unit.VECTOR_STORE: 2, Unit.LOAD: 1, Unit.STORE: 1,
    },
    alone={Unit.MULTIPLY: 1, Unit.PAIRWISE: 1}, halves=True, in_order=False, accumulation=3,
)  # fmt: skip
_LARGE = Core(
    4,
    {
        Unit.FLOAT: 0.5, Unit.MULTIPLY: 0.5, Unit.PAIRWISE: 0.5, Unit.DOT: 0.5, Unit.VECTOR: 0.5,
        Unit.VECTOR_LOAD: 0.5, Unit.VECTOR_STORE: 1, Unit.LOAD: 0.5, Unit.STORE: 0.5,
    },
    alone={Unit.MULTIPLY: 1, Unit.PAIRWISE: 1}, halves=False, in_order=False, accumulation=2,
)  # fmt: skip

_ARITHMETIC = (Unit.FLOAT, Unit.MULTIPLY, Unit.PAIRWISE, Unit.DOT, Unit.VECTOR)


def core_of(target: Target) -> Core:
    """Return the core that a target's facts describe: in order, out of order with one vector multiplier, with two."""
    if target.load_bits < target.vector_bits:
        return _SMALL
    return _LARGE if target.fma_per_cycle > target.lanes() else _MIDDLE


def block_cycles(words: Sequence[int], core: Core) -> float:
    """Return the cycles of one pass over a block, when pass follows pass."""
    busy: Counter[Unit] = Counter()
    bound: Counter[Unit] = Counter()
    chains: Counter[int] = Counter()
    longest = 0
    for use in (use for word in words for use in uses(word)):
        registers = use.registers if core.halves else max(1.0, use.registers)
        # Only vector loads and arithmetic get cheaper by half: a store or a scalar load is one.
        busy[use.unit] += core.cycles.get(use.unit, 0) * registers  # type: ignore[assignment]
        bound[use.unit] += core.alone.get(use.unit, 0) * registers  # type: ignore[assignment]
        if use.starts is not None:
            longest = max(longest, chains.pop(use.starts, 0))
        if use.accumulates is not None:
            chains[use.accumulates] += 1
    arithmetic = max(sum(busy[unit] for unit in _ARITHMETIC), *bound.values(), 0.0)
    if core.in_order:
        parts = [arithmetic + busy[Unit.VECTOR_LOAD] + busy[Unit.VECTOR_STORE]]
    else:
        parts = [arithmetic, busy[Unit.VECTOR_LOAD] + busy[Unit.LOAD], busy[Unit.VECTOR_STORE] + busy[Unit.STORE]]
    chain = core.accumulation * max(longest, *chains.values(), 0)
    return max(len(words) / core.width, chain, *parts)


def total_cycles(lines: Iterable[str], core: Core) -> float:
    """Return the cycles of all that the plugin `blocks.c` has counted: lines "executions instructions"."""
    total = 0.0
    for line in lines:
        count, code = line.split()
        data = bytes.fromhex(code)
        words = [int.from_bytes(data[start : start + 4], "little") for start in range(0, len(data), 4)]
        total += int(count) * block_cycles(words, core)
    return total
