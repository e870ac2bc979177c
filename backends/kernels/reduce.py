"""Reductions: sums, means, products and extremes over any dimensions, and the places of extremes.

Where a kept dimension lies innermost in memory, its elements are the lanes and nothing is ever added across lanes (the
global average of a channels-last image). Where a reduced one does, its elements are, and horizontal sums end the rows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.fx import Node

from prunus.backends.kernels.emit import Memory, Registers, address, kernel, load, split, when
from prunus.backends.kernels.family import Defaults, Epilogue, Match, No, OperandLayout, Request
from prunus.backends.kernels.loops import collapse
from prunus.backends.kernels.places import Places
from prunus.backends.kernels.rows import CHAINS, Partials, Sweep, spread, stream_cycles
from prunus.backends.kernels.tiling import Columns, epilogue_cycles, finish
from prunus.backends.kernels.tir import T
from prunus.backends.kernels.vector_math import splat
from prunus.backends.plan.layout import DimOrder
from prunus.backends.plan.program import View
from prunus.passes.arguments import arguments
from prunus.passes.graph import aten, is_op
from prunus.targets import Target

_OPERATIONS: dict[object, str] = {
    aten.sum.dim_IntList: "sum", aten.mean.dim: "sum", aten.prod.dim_int: "prod",
    aten.amax.default: "max", aten.amin.default: "min", aten.argmax.default: "max", aten.argmin.default: "min",
}  # fmt: skip


@dataclass(frozen=True)
class Reduction:
    """Problem. Loops run from the slowest in memory to the fastest.

    Attributes:
        operation: of `rows.COMBINE`.
        place: the result is the index of the extreme, the first of equal ones, instead of its value.
        scale: factor of the result: one over the count for means.
        dtype: of what is read.
        kept, reduced: loop sizes.
        kept_strides, reduced_strides: of the input; `output_strides` and the epilogue's are over the kept loops.
    """

    operation: str
    place: bool
    scale: float
    dtype: str
    kept: tuple[int, ...]
    reduced: tuple[int, ...]
    kept_strides: tuple[int, ...]
    reduced_strides: tuple[int, ...]
    output_strides: tuple[int, ...]
    epilogue: Epilogue

    @property
    def rows(self) -> bool:
        """Reduced elements are neighbours in memory."""
        return self.reduced_strides[-1] == 1 and self.kept_strides[-1] != 1


@dataclass(frozen=True)
class ReductionKnob:
    """Way of computing: `chains` sums of `vectors` registers of `lanes` at the same time."""

    lanes: int
    vectors: int
    chains: int


class Reductions(Defaults):
    """The family; see the module's docstring."""

    name = "reduce"

    def claims(self, anchor: Node) -> bool:
        return is_op(anchor, *_OPERATIONS)

    def order(self, anchor: Node, inputs: dict[int, View], rank: int) -> DimOrder:
        view = inputs[0]
        dims = range(rank) if arguments(anchor).keepdim else _kept(anchor, len(view.shape))
        return tuple(sorted(range(rank), key=lambda dim: -view.strides[dims[dim]]))

    def match(self, request: Request, target: Target) -> Match | No:
        anchor = request.anchor
        assert anchor is not None
        if 0 not in request.inputs:
            return No("its input is a constant")
        view, place = request.inputs[0], is_op(anchor, aten.argmax, aten.argmin)
        if math.prod(view.shape) == 0:
            return No("its input is empty")
        result = str(anchor.meta["val"].dtype).removeprefix("torch.")
        if not place and result != view.buffer.dtype:
            return No(f"it reads {view.buffer.dtype} and returns {result}")
        if view.buffer.dtype == "bool":
            return No("it reads bool")
        if place and arguments(anchor).dim is None:
            return No("it has no dimension")
        kept = _kept(anchor, len(view.shape))
        reduced = [dim for dim in range(len(view.shape)) if dim not in kept]
        dims = kept if arguments(anchor).keepdim else range(len(kept))

        def over_kept(other: View) -> list[int]:
            return [other.strides[dim] for dim in dims]

        tensors = [[view.strides[dim] for dim in kept], over_kept(request.output), *map(over_kept, request.operands)]
        outer = collapse([view.shape[dim] for dim in kept], tensors, sort_by=0)
        inner = collapse([view.shape[dim] for dim in reduced], [[view.strides[dim] for dim in reduced]], sort_by=0)
        strides = [over or (0,) for over in outer.strides]
        operands = zip(request.operands, strides[2:], strict=True)
        layouts = tuple(OperandLayout(operand.buffer.dtype, over) for operand, over in operands)
        problem = Reduction(
            operation=_OPERATIONS[anchor.target],
            place=place,
            scale=1.0 / math.prod(inner.sizes) if is_op(anchor, aten.mean.dim) else 1.0,
            dtype=view.buffer.dtype,
            kept=outer.sizes or (1,),
            reduced=inner.sizes or (1,),
            kept_strides=strides[0],
            reduced_strides=inner.strides[0] or (0,),
            output_strides=strides[1],
            epilogue=Epilogue(request.epilogue, layouts, request.output.buffer.dtype),
        )
        shares = tuple(range(1, 1 + len(request.operands)))
        return Match(problem, (view,), request.outputs, request.operands, shares=shares)

    def knobs(self, problem: Reduction, target: Target) -> Sequence[ReductionKnob]:
        lanes = target.lanes(np.dtype(problem.dtype).itemsize * 8)
        if problem.rows:
            found = [ReductionKnob(lanes, 1, chains) for chains in (CHAINS, CHAINS // 2, 2)]
        else:
            lanes = lanes if problem.kept_strides[-1] == 1 else 1
            most = max(1, min(CHAINS, -(-problem.kept[-1] // lanes)))
            sizes = sorted({most, *(vectors for vectors in (1, 2, 4) if vectors < most)}, reverse=True)
            found = [ReductionKnob(lanes, vectors, max(1, CHAINS // vectors)) for vectors in sizes]
        return sorted(found, key=lambda knob: self.estimate(problem, knob, target))

    def units(self, problem: Reduction, knob: ReductionKnob) -> int:
        if problem.rows:
            return math.prod(problem.kept)
        return math.prod(problem.kept[:-1]) * _columns(problem, knob).blocks

    def estimate(self, problem: Reduction, knob: ReductionKnob, target: Target) -> float:
        outputs, count = math.prod(problem.kept), math.prod(problem.reduced)
        operations = 3.0 if problem.place else 1.0
        chain = 4.0 / (knob.vectors * knob.chains)
        cycles = stream_cycles(outputs * count, knob.lanes, 1.0, operations, target)
        cycles = max(cycles, outputs * count / knob.lanes * chain)
        ends = outputs * 8.0 * (1 + math.log2(knob.lanes)) if problem.rows else outputs / knob.lanes * knob.chains
        return cycles + ends + 4.0 * self.units(problem, knob) + epilogue_cycles(problem.epilogue, outputs, target)

    def emit(self, problem: Reduction, knob: ReductionKnob, target: Target) -> Any:
        dtypes = [problem.dtype, *(operand.dtype for operand in problem.epilogue.operands), problem.epilogue.dtype]

        def body(memories: list[Memory], begin: Any, end: Any) -> None:
            emitter = _Emitter(problem, knob, target, memories)
            with T.serial(begin, end) as unit:
                emitter.row(unit) if problem.rows else emitter.block(unit)

        return kernel(target, dtypes, body)


def _kept(anchor: Node, rank: int) -> list[int]:
    dims = arguments(anchor).dim
    given = [dims] if isinstance(dims, int) else dims or range(rank)
    reduced = {dim % rank for dim in given} if rank else set()
    return [dim for dim in range(rank) if dim not in reduced]


def _columns(problem: Reduction, knob: ReductionKnob) -> Columns:
    return Columns(problem.kept[-1], knob.lanes, knob.vectors, exact=True)


class _Emitter:
    """Writes the loops of one reduction."""

    def __init__(self, problem: Reduction, knob: ReductionKnob, target: Target, memories: list[Memory]) -> None:
        self.problem, self.knob, self.target = problem, knob, target
        self.x, self.operands, self.y = memories[0], memories[1:-1], memories[-1]

    def row(self, unit: Any) -> None:
        """One unit is one output; neighbouring inputs are the lanes."""
        problem, kept = self.problem, split(unit, self.problem.kept)
        base = T.bind(address(kept, problem.kept_strides))
        sweep = Sweep(problem.reduced, self.knob.lanes, self.knob.chains)
        gathered = self._gather(sweep.widths)

        def visit(indices: list[Any], lanes: int, slot: int) -> None:
            position = indices[-1] if lanes == 1 else T.ramp(indices[-1], 1, lanes)
            self._add(gathered, slot, load(self.x, base + address(indices, problem.reduced_strides), lanes), position)

        sweep.run(visit)
        self._store(gathered.total(), 1, kept)

    def block(self, unit: Any) -> None:
        """One unit is one block of neighbouring outputs, which are the lanes."""
        columns, outer = _columns(self.problem, self.knob), self.problem.kept[:-1]
        *kept, block = split(unit, (*outer, columns.blocks)) if outer else [unit]
        kinds = columns.kinds()
        for tail in kinds:
            with when(True if len(kinds) == 1 else block >= columns.full if tail else block < columns.full):
                self._block(kept, T.bind(block * columns.block), columns.widths(tail))

    def _block(self, kept: list[Any], start: Any, widths: Sequence[int]) -> None:
        problem, count = self.problem, len(widths)
        starts = [sum(widths[:v]) for v in range(count)]
        base = T.bind(address((*kept, start), problem.kept_strides))
        steps = Sweep(problem.reduced, 1, self.knob.chains)
        chains = len(steps.widths)
        gathered = self._gather(list(widths) * chains)
        stride = problem.kept_strides[-1]

        def visit(indices: list[Any], _: int, chain: int) -> None:
            at = T.bind(base + address(indices, problem.reduced_strides))
            for v, lanes in enumerate(widths):
                value = load(self.x, at + starts[v] * stride, lanes, stride)
                position = spread(indices[-1], lanes)
                self._add(gathered, chain * count + v, value, position)

        steps.run(visit)
        for v, lanes in enumerate(widths):
            self._store(gathered.merged(range(v, count * chains, count)), lanes, [*kept, start + starts[v]])

    def _gather(self, widths: Sequence[int]) -> Partials | Places:
        kind = Places if self.problem.place else Partials
        return kind(self.problem.operation, widths, self.target, self.problem.dtype)

    def _add(self, gathered: Partials | Places, slot: int, value: Any, position: Any) -> None:
        if isinstance(gathered, Places):
            gathered.add(slot, T.bind(value), position)
        else:
            gathered.add(slot, value)

    def _store(self, value: Any, lanes: int, kept: list[Any]) -> None:
        problem = self.problem
        dtype = "int64" if problem.place else problem.dtype
        if problem.scale != 1.0:
            value = value * splat(problem.scale, dtype, lanes)
        result = Registers(1, lanes, dtype)
        result[0] = value

        def place(strides: Sequence[int], lane: int) -> Any:
            return address((*kept[:-1], kept[-1] + lane), strides)

        finish(result, 0, lanes, problem.epilogue, self.operands, self.y, place, problem.output_strides, lanes)
