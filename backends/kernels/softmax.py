"""Softmax and its logarithm over one dimension, in one kernel.

    m = max x,   s = sum exp(x - m),   softmax = exp(x - m) / s,   log_softmax = x - (m + log s)

Two ways: along the row (its elements are the lanes) or across rows (neighbouring rows are the lanes: for a dimension
that is not innermost in memory, and for short rows). Exponentials wait in the output until their sum is known.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch.fx import Node

from prunus.backends.kernels.emit import Memory, Registers, address, kernel, load, loop, split, store, when
from prunus.backends.kernels.family import Defaults, Epilogue, Match, No, OperandLayout, Request
from prunus.backends.kernels.loops import collapse
from prunus.backends.kernels.rows import Partials, Sweep, memory_order, spread, store_after, stream_cycles
from prunus.backends.kernels.tiling import Columns, epilogue_cycles
from prunus.backends.kernels.tir import T
from prunus.backends.kernels.vector_math import Math, lane_dtype, log, splat
from prunus.backends.plan.layout import DimOrder
from prunus.backends.plan.program import View
from prunus.passes.arguments import arguments
from prunus.passes.graph import aten, is_op
from prunus.targets import Target

# Operations of one exponential, and of the pass around it.
_EXPONENTIAL = 14.0


@dataclass(frozen=True)
class Softmax:
    """Problem. Strides are over the loops (*rows, element); the rows' are from the slowest in memory to the fastest."""

    logarithm: bool
    rows: tuple[int, ...]
    size: int
    input_strides: tuple[int, ...]
    output_strides: tuple[int, ...]
    epilogue: Epilogue

    @property
    def staged(self) -> bool:
        """Exponentials wait in the output; it holds float32."""
        return not self.logarithm and self.epilogue.dtype == "float32"


@dataclass(frozen=True)
class SoftmaxKnob:
    """Way of computing: `unroll` vectors of `lanes` at a time, across rows or along them."""

    lanes: int
    unroll: int
    across: bool


class SoftmaxRows(Defaults):
    """The family; see the module's docstring."""

    name = "softmax"

    def claims(self, anchor: Node) -> bool:
        return is_op(anchor, aten.softmax.int, aten.log_softmax.int)

    def order(self, anchor: Node, inputs: dict[int, View], rank: int) -> DimOrder:
        return memory_order(inputs[0])

    def match(self, request: Request, target: Target) -> Match | No:
        anchor, output = request.anchor, request.output
        assert anchor is not None
        if 0 not in request.inputs:
            return No("its input is a constant")
        view, rank = request.inputs[0], len(output.shape)
        if view.buffer.dtype != "float32" or str(anchor.meta["val"].dtype) != "torch.float32":
            return No("it is not float32")
        if math.prod(view.shape) == 0 or rank == 0:
            return No("it is empty or a scalar")
        dim = arguments(anchor).dim % rank
        rows = [other for other in range(rank) if other != dim]
        views = (view, output, *request.operands)
        nest = collapse([view.shape[d] for d in rows], [[v.strides[d] for d in rows] for v in views], sort_by=0)
        strides = [(*(over or (0,)), v.strides[dim]) for over, v in zip(nest.strides, views, strict=True)]
        layouts = zip(request.operands, strides[2:], strict=True)
        problem = Softmax(
            logarithm=is_op(anchor, aten.log_softmax),
            rows=nest.sizes or (1,),
            size=view.shape[dim],
            input_strides=strides[0],
            output_strides=strides[1],
            epilogue=Epilogue(
                request.epilogue, tuple(OperandLayout(v.buffer.dtype, over) for v, over in layouts), output.buffer.dtype
            ),
        )
        # An operand may not lie where exponentials wait.
        read_again = any(operand.buffer == view.buffer for operand in request.operands)
        shares = (0,) if not (problem.staged and read_again) else ()
        return Match(problem, (view,), request.outputs, request.operands, shares=shares)

    def knobs(self, problem: Softmax, target: Target) -> Sequence[SoftmaxKnob]:
        found = [SoftmaxKnob(target.lanes(), unroll, across) for across in (False, True) for unroll in (2, 4, 1)]
        return sorted(found, key=lambda knob: self.estimate(problem, knob, target))

    def units(self, problem: Softmax, knob: SoftmaxKnob) -> int:
        if not knob.across:
            return math.prod(problem.rows)
        return math.prod(problem.rows[:-1]) * _columns(problem, knob).blocks

    def scratch_bytes(self, problem: Softmax, knob: SoftmaxKnob) -> int:
        if problem.logarithm or problem.staged:
            return 0
        return 4 * problem.size * (_columns(problem, knob).block if knob.across else 1)

    def estimate(self, problem: Softmax, knob: SoftmaxKnob, target: Target) -> float:
        rows = math.prod(problem.rows)
        inner = problem.rows[-1] if knob.across else problem.size
        full, rest = divmod(inner, knob.lanes)
        vectors = (full + bin(rest).count("1")) / inner * rows * problem.size
        stride = problem.input_strides[-2 if knob.across else -1]
        gathered = 0.0 if stride == 1 or inner == 1 else 7.0 * knob.lanes
        cycles = stream_cycles(vectors, 1, 4.0 + gathered, _EXPONENTIAL + 4, target)
        latency = {1: 1.6, 2: 1.1, 4: 1.0}[knob.unroll]
        ends = 0.0 if knob.across else rows * 4.0 * math.log2(min(knob.lanes, 2 * problem.size))
        after = epilogue_cycles(problem.epilogue, rows * problem.size, target)
        return cycles * latency + ends + 4.0 * self.units(problem, knob) + after

    def emit(self, problem: Softmax, knob: SoftmaxKnob, target: Target) -> Any:
        dtypes = ["float32", *(operand.dtype for operand in problem.epilogue.operands), problem.epilogue.dtype]
        if self.scratch_bytes(problem, knob):
            dtypes.append("float32")

        def body(memories: list[Memory], begin: Any, end: Any) -> None:
            emitter = _Emitter(problem, knob, target, memories)
            with T.serial(begin, end) as unit:
                emitter.block(unit) if knob.across else emitter.row(unit)

        return kernel(target, dtypes, body)


def _columns(problem: Softmax, knob: SoftmaxKnob) -> Columns:
    return Columns(problem.rows[-1], knob.lanes, knob.unroll, exact=True)


# Added to a number below 2**22, it rounds it to an integer, which then stands in the low bits of the sum.
_ROUND = 1.5 * 2**23


def exp_of_negative(x: Any, m: Math) -> Any:
    """exp of x <= 0 with a relative error below 2.2e-7; 0 below -87.7.

    `vector_math.exp` without what only positive x need. The polynomial of degree 5 has the smallest relative error on
    half a logarithm of 2 around 0 (Lawson's iteration), 1.1e-7. At the lower clamp n is -127, whose 2**n has no bits.
    """
    clamped = T.bind(T.max(x, m(-88.0)))
    rounded = T.bind(m.fma(clamped, m(1.44269504088896341), m(_ROUND)))
    n = T.bind(rounded - m(_ROUND))
    r = T.bind(m.fma(n, m(-0.693359375), clamped))
    r = T.bind(m.fma(n, m(2.12194440e-4), r))
    tail = m.polynomial(r, [8.312501013e-3, 4.1890330613e-2, 1.6667115688e-1, 4.9999231100e-1])
    value = T.bind(m.fma(tail, T.bind(r * r), r + m(1)))
    bits = T.reinterpret(lane_dtype("int32", m.lanes), rounded)
    exponent = T.shift_left(bits, splat(23, "int32", m.lanes)) + splat(127 << 23, "int32", m.lanes)
    return T.bind(value * T.reinterpret(lane_dtype("float32", m.lanes), exponent))


class _Emitter:
    """Writes the loops of one softmax."""

    def __init__(self, problem: Softmax, knob: SoftmaxKnob, target: Target, memories: list[Memory]) -> None:
        self.problem, self.knob, self.target = problem, knob, target
        count = len(problem.epilogue.operands)
        self.x, self.operands, self.y = memories[0], memories[1 : 1 + count], memories[1 + count]
        self.scratch = memories[2 + count] if len(memories) > 2 + count else None

    def row(self, unit: Any) -> None:
        """One unit is one row, whose elements are the lanes."""
        problem, knob = self.problem, self.knob
        kept = split(unit, problem.rows)
        sweep = Sweep((problem.size,), knob.lanes, knob.unroll)

        def read(at: Any, lanes: int) -> Any:
            return T.bind(load(self.x, address((*kept, at), problem.input_strides), lanes, problem.input_strides[-1]))

        largest = Partials("max", sweep.widths, self.target)
        sweep.run(lambda indices, lanes, slot: largest.add(slot, read(indices[0], lanes)))
        top = T.bind(largest.total())
        sums = Partials("sum", sweep.widths, self.target)

        def exponential(indices: list[Any], lanes: int, slot: int) -> None:
            value = exp_of_negative(read(indices[0], lanes) - spread(top, lanes), Math("float32", lanes))
            self._wait(value, (*kept, indices[0]), indices[0], lanes, problem.output_strides[-1])
            sums.add(slot, value)

        sweep.run(exponential)
        factor = T.bind(self._factor(sums.total(), top, 1))

        def finish(indices: list[Any], lanes: int, slot: int) -> None:
            place = (*kept, indices[0])
            value = self._waiting(place, indices[0], lanes, problem.output_strides[-1])
            if value is None:
                value = read(indices[0], lanes)
            self._store(self._scaled(value, spread(factor, lanes)), place, lanes, last=-1)

        sweep.run(finish)

    def block(self, unit: Any) -> None:
        """One unit is one block of neighbouring rows, which are the lanes."""
        columns, outer = _columns(self.problem, self.knob), self.problem.rows[:-1]
        *kept, block = split(unit, (*outer, columns.blocks)) if outer else [unit]
        kinds = columns.kinds()
        for tail in kinds:
            with when(True if len(kinds) == 1 else block >= columns.full if tail else block < columns.full):
                self._block(kept, T.bind(block * columns.block), columns.widths(tail))

    def _block(self, kept: list[Any], start: Any, widths: Sequence[int]) -> None:
        problem = self.problem
        starts = [sum(widths[:v]) for v in range(len(widths))]
        strides = problem.input_strides

        def every(body: Callable[[Any, int, int, tuple[Any, ...]], None]) -> None:
            with loop(0, problem.size) as index:
                for v, lanes in enumerate(widths):
                    body(index, v, lanes, (*kept, start + starts[v], index))

        def read(place: tuple[Any, ...], lanes: int) -> Any:
            return T.bind(load(self.x, address(place, strides), lanes, strides[-2]))

        def waits_at(index: Any, v: int) -> Any:
            return index * _columns(problem, self.knob).block + starts[v]

        largest, sums = Partials("max", widths, self.target), Partials("sum", widths, self.target)
        every(lambda index, v, lanes, place: largest.add(v, read(place, lanes)))

        def exponential(index: Any, v: int, lanes: int, place: tuple[Any, ...]) -> None:
            value = exp_of_negative(read(place, lanes) - largest[v], Math("float32", lanes))
            self._wait(value, place, waits_at(index, v), lanes, problem.output_strides[-2])
            sums.add(v, value)

        every(exponential)
        factors = Registers(len(widths), widths)
        for v, lanes in enumerate(widths):
            factors[v] = self._factor(sums[v], largest[v], lanes)

        def finish(index: Any, v: int, lanes: int, place: tuple[Any, ...]) -> None:
            value = self._waiting(place, waits_at(index, v), lanes, problem.output_strides[-2])
            if value is None:
                value = read(place, lanes)
            self._store(self._scaled(value, factors[v]), place, lanes, last=-2)

        every(finish)

    def _wait(self, value: Any, place: Sequence[Any], index: Any, lanes: int, stride: int) -> None:
        """Put exponentials where they wait for their sum."""
        if self.scratch is not None:
            store(self.scratch, index, value, lanes)
        elif self.problem.staged:
            store(self.y, address(place, self.problem.output_strides), value, lanes, stride)

    def _waiting(self, place: Sequence[Any], index: Any, lanes: int, stride: int) -> Any:
        if self.scratch is not None:
            return load(self.scratch, index, lanes)
        if self.problem.staged:
            return load(self.y, address(place, self.problem.output_strides), lanes, stride)
        return None

    def _factor(self, total: Any, top: Any, lanes: int) -> Any:
        m = Math("float32", lanes)
        return top + log(total, m) if self.problem.logarithm else m(1) / total

    def _scaled(self, value: Any, factor: Any) -> Any:
        return value - factor if self.problem.logarithm else value * factor

    def _store(self, value: Any, place: Sequence[Any], lanes: int, last: int) -> None:
        """Apply the epilogue and store; `last` is the loop that the lanes run along."""
        store_after(
            self.problem.epilogue, self.operands, self.y, value, place, self.problem.output_strides, lanes, last
        )
