"""Rows of data as vectors: walks with the innermost loop in vectors, and sums that are gathered on the way."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from prunus.backends.kernels.emit import Index, Memory, Registers, Vector, address, evaluate, load, loop, pieces, store
from prunus.backends.kernels.family import Epilogue
from prunus.backends.kernels.tir import T
from prunus.backends.kernels.vector_math import part, splat
from prunus.backends.plan.layout import DimOrder
from prunus.backends.plan.program import View
from prunus.targets import Target

# Additions that wait for each other take about four cycles each, and two start in a cycle.
CHAINS = 8


@contextmanager
def nest(sizes: Sequence[int]) -> Iterator[list[Index]]:
    """Open one loop for each size, outermost first."""
    with ExitStack() as stack:
        yield [stack.enter_context(loop(0, size)) for size in sizes]


@dataclass(frozen=True)
class Sweep:
    """A walk over a loop nest whose innermost loop is cut into vectors.

    Attributes:
        sizes: loop sizes, outermost first; at least one.
        lanes: lanes of a full vector.
        unroll: vectors that are at work at the same time.
    """

    sizes: tuple[int, ...]
    lanes: int
    unroll: int

    @property
    def widths(self) -> tuple[int, ...]:
        """Lanes of each slot: up to `unroll` full vectors, then the powers of two that make up the tail."""
        full, rest = divmod(self.sizes[-1], self.lanes)
        return (self.lanes,) * min(self.unroll, full) + tuple(lanes for _, lanes in pieces(rest, self.lanes))

    def run(self, body: Callable[[list[Index], int, int], None]) -> None:
        """Write the loops; `body` is called with the indices of a vector's first element, its lanes and its slot."""
        vectors, rest = divmod(self.sizes[-1], self.lanes)
        rounds, more = divmod(vectors, self.unroll)
        done = rounds * self.unroll
        with nest(self.sizes[:-1]) as outer:
            if rounds:
                with loop(0, rounds) as count:
                    for slot in range(self.unroll):
                        body([*outer, count * (self.unroll * self.lanes) + slot * self.lanes], self.lanes, slot)
            for slot in range(more):
                body([*outer, (done + slot) * self.lanes], self.lanes, slot)
            for slot, (start, lanes) in enumerate(pieces(rest, self.lanes), min(self.unroll, vectors)):
                body([*outer, vectors * self.lanes + start], lanes, slot)


Combine = Callable[[Vector, Vector], Vector]

COMBINE: dict[str, Combine] = {
    "sum": lambda a, b: T.bind(a + b),
    "prod": lambda a, b: T.bind(a * b),
    "max": lambda a, b: T.bind(T.max(a, b)),
    "min": lambda a, b: T.bind(T.min(a, b)),
}


def combination(operation: str, dtype: str, target: Target) -> Combine:
    """Return how two vectors are combined: ARM has one instruction where comparing and choosing floats takes two."""
    if operation in ("sum", "prod") or dtype != "float32" or target.architecture == "x86_64":
        return COMBINE[operation]
    intrinsic = {"max": "llvm.maximum", "min": "llvm.minimum"}[operation]
    return lambda a, b: T.bind(T.call_llvm_pure_intrin(a.ty.dtype, intrinsic, a, b))


def neutral(operation: str, dtype: str) -> float | int:
    """Return the value that an operation of `COMBINE` starts from."""
    if operation in ("sum", "prod"):
        one_or_zero = int(operation == "prod")
        return float(one_or_zero) if dtype.startswith("float") else one_or_zero
    if dtype.startswith("float"):
        return -math.inf if operation == "max" else math.inf
    limits = np.iinfo(dtype)
    return int(limits.min if operation == "max" else limits.max)


class Partials:
    """What the slots of a sweep gather, each in a register of its own."""

    def __init__(self, operation: str, widths: Sequence[int], target: Target, dtype: str = "float32") -> None:
        self.combine = combination(operation, dtype, target)
        self._widths = widths
        self._registers = Registers(len(widths), widths, dtype)
        for slot, lanes in enumerate(widths):
            self[slot] = splat(neutral(operation, dtype), dtype, lanes)

    def __getitem__(self, slot: int) -> Vector:
        return self._registers[slot]

    def __setitem__(self, slot: int, value: Vector) -> None:
        self._registers[slot] = value

    def add(self, slot: int, value: Vector) -> None:
        """Combine a vector with what the slot holds."""
        self[slot] = self.combine(self[slot], value)

    def merged(self, slots: Iterable[int]) -> Vector:
        """Return slots of one width combined lane by lane."""
        return tree(self.combine, [self[slot] for slot in slots])

    def total(self) -> Vector:
        """Return all lanes of all slots combined to one element."""
        values = [(self[slot], lanes) for slot, lanes in enumerate(self._widths)]
        return fold(values, self.combine, part)


Value = TypeVar("Value")


def tree(combine: Callable[[Value, Value], Value], values: Sequence[Value]) -> Value:
    """Combine values in pairs, and the results again, so that few wait for each other."""
    while len(values) > 1:
        pairs = [combine(a, b) for a, b in zip(values[::2], values[1::2], strict=False)]
        values = [*pairs, *([values[-1]] if len(values) % 2 else [])]
    return values[0]


def fold(
    values: Sequence[tuple[Value, int]],
    combine: Callable[[Value, Value], Value],
    cut: Callable[[Value, int, int], Value],
) -> Value:
    """Combine all lanes of values to one lane: halves fold onto each other, narrower values join at their width.

    Args:
        values: each with its number of lanes, a power of two.
        cut: returns so many lanes of a value, from a start.
    """
    lanes = max(width for _, width in values)
    waiting: list[Value] = []
    while True:
        value = tree(combine, [*(value for value, width in values if width == lanes), *waiting])
        if lanes == 1:
            return value
        lanes //= 2
        waiting = [combine(cut(value, 0, lanes), cut(value, lanes, lanes))]


def spread(scalar: Vector, lanes: int) -> Vector:
    """Return a scalar in every lane."""
    return scalar if lanes == 1 else T.broadcast(scalar, lanes)


def store_after(
    epilogue: Epilogue,
    operands: Sequence[Memory],
    output: Memory,
    value: Vector,
    place: Sequence[Index],
    strides: tuple[int, ...],
    lanes: int,
    last: int = -1,
) -> None:
    """Apply the epilogue to a vector and store it.

    Args:
        place: indices of the first lane over the loops.
        strides: of the output over the loops.
        last: the loop that the lanes run along.
    """

    def read(operand: int, lanes: int) -> Vector:
        over = epilogue.operands[operand].strides
        return load(operands[operand], address(place, over), lanes, over[last])

    result = evaluate(epilogue.expression, lanes, T.bind(value), read)
    store(output, address(place, strides), result, lanes, strides[last])


def memory_order(view: View) -> DimOrder:
    """Return the dimensions of a view from the slowest in memory to the fastest."""
    return tuple(sorted(range(len(view.shape)), key=lambda dim: -view.strides[dim]))


def stream_cycles(elements: float, lanes: int, loads: float, operations: float, target: Target) -> float:
    """Estimate cycles of a pass over `elements` with so many loads and operations a vector."""
    ports = 2.0 if target.architecture == "x86_64" or target.fma_per_cycle >= 8 else 1.0
    rate = max(1.0, target.fma_per_cycle / target.lanes())
    return elements / lanes * max(loads / ports, operations / rate)
