"""Sorting along one dimension: `sort`, and `topk` as the front of a sorted row.

Each row is sorted by merging runs of 1, 2, 4, ... indices, so equal elements keep their order. NaN is the largest, as
in PyTorch. Of equal elements `topk` takes the first ones; PyTorch leaves that open.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch.fx import Node

from prunus.backends.kernels.emit import Memory, Registers, address, kernel, load, split, store
from prunus.backends.kernels.family import Defaults, Match, No, Request
from prunus.backends.kernels.tir import T
from prunus.backends.plan.program import View
from prunus.passes.arguments import arguments
from prunus.passes.graph import aten, is_op
from prunus.targets import Target


@dataclass(frozen=True)
class Sort:
    """Problem: `sizes` of all dimensions but the sorted one, with strides of input, values and indices over them.

    Attributes:
        length: elements of a row.
        kept: elements of a row that are written.
        steps: strides of input, values and indices along a row.
    """

    sizes: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    length: int
    kept: int
    steps: tuple[int, ...]
    descending: bool
    dtype: str


@dataclass(frozen=True)
class SortKnob:
    """There is one way of computing."""


class SortRows(Defaults):
    """The family; see the module's docstring."""

    name = "sort"

    def claims(self, anchor: Node) -> bool:
        return is_op(anchor, aten.sort.default, aten.sort.stable, aten.topk.default)

    def match(self, request: Request, target: Target) -> Match | No:
        anchor = request.anchor
        assert anchor is not None
        if 0 not in request.inputs:
            return No("its input is a constant")
        view, (values, indices) = request.inputs[0], request.outputs
        if view.buffer.dtype == "bool" or not view.shape:
            return No("it sorts truth values, or a single number")
        call, rank = arguments(anchor), len(view.shape)
        dim = call.dim % rank
        others = [place for place in range(rank) if place != dim]

        def over(item: View) -> tuple[int, ...]:
            return tuple(item.strides[place] for place in others) or (0,)

        problem = Sort(
            sizes=tuple(view.shape[place] for place in others) or (1,),
            strides=tuple(map(over, (view, values, indices))),
            length=view.shape[dim],
            kept=values.shape[dim],
            steps=tuple(item.strides[dim] for item in (view, values, indices)),
            descending=bool(call.largest if is_op(anchor, aten.topk.default) else call.descending),
            dtype=view.buffer.dtype,
        )
        return Match(problem, (view,), request.outputs)

    def knobs(self, problem: Sort, target: Target) -> Sequence[SortKnob]:
        return [SortKnob()]

    def units(self, problem: Sort, knob: SortKnob) -> int:
        return math.prod(problem.sizes)

    def scratch_bytes(self, problem: Sort, knob: SortKnob) -> int:
        return 2 * 4 * problem.length

    def estimate(self, problem: Sort, knob: SortKnob, target: Target) -> float:
        return self.units(problem, knob) * problem.length * (10.0 * self._levels(problem) + 4.0)

    def _levels(self, problem: Sort) -> int:
        return (problem.length - 1).bit_length()

    def emit(self, problem: Sort, knob: SortKnob, target: Target) -> Any:
        levels = self._levels(problem)

        def body(memories: list[Memory], begin: Any, end: Any) -> None:
            source, values, indices, scratch = memories
            with T.serial(begin, end) as unit:
                outer = split(unit, problem.sizes)
                row, first_value, first_index = (
                    T.bind(T.cast(address(outer, over), "int32")) for over in problem.strides
                )
                with T.serial(0, problem.length) as index:
                    store(scratch, index, index)
                with T.serial(0, levels) as level:
                    _merge_runs(problem, source, scratch, row, level)
                sorted_at = levels % 2 * problem.length
                with T.serial(0, problem.kept) as index:
                    found = T.bind(load(scratch, sorted_at + index))
                    store(values, first_value + index * problem.steps[1], load(source, row + found * problem.steps[0]))
                    store(indices, first_index + index * problem.steps[2], T.cast(found, "int64"))

        return kernel(target, [problem.dtype, problem.dtype, "int64", "int32"], body)


def _merge_runs(problem: Sort, source: Memory, scratch: Memory, row: Any, level: Any) -> None:
    """Merge neighbouring runs of 2**level indices from one half of scratch into the other."""
    length = problem.length
    width = T.bind(T.shift_left(T.int32(1), level))
    old = T.bind(level % 2 * length)
    new = T.bind(length - old)
    with T.serial(0, (length + 2 * width - 1) // (2 * width)) as pair:
        start = T.bind(pair * 2 * width)
        middle = T.bind(T.min(start + width, length))
        end = T.bind(T.min(middle + width, length))
        heads = Registers(2, 1, "int32")
        heads[0], heads[1] = start, middle
        with T.serial(start, end) as place:
            # Where a run is used up its head is read all the same, at a place that exists, and not taken.
            left = T.bind(load(scratch, old + T.min(heads[0], length - 1)))
            right = T.bind(load(scratch, old + T.min(heads[1], length - 1)))
            x = T.bind(load(source, row + left * problem.steps[0]))
            y = T.bind(load(source, row + right * problem.steps[0]))
            overtakes = T.And(heads[1] < end, T.Or(heads[0] >= middle, _before(y, x, problem)))
            taken = T.bind(T.Cast("int32", overtakes))
            store(scratch, new + place, T.Select(taken == 1, right, left))
            heads[0] = heads[0] + (1 - taken)
            heads[1] = heads[1] + taken


def _before(x: Any, y: Any, problem: Sort) -> Any:
    """Tell whether x must stand ahead of y."""
    ahead, behind = (y, x) if problem.descending else (x, y)
    less = ahead < behind
    if not problem.dtype.startswith("float"):
        return less
    return T.Or(less, T.And(T.isnan(behind), T.Not(T.isnan(ahead))))
