"""Layer norm, RMS norm and group norm over rows of neighbouring elements.

    y = (x - mean) / sqrt(mean((x - mean)^2) + eps) * weight + bias        (RMS norm: without mean and bias)

A row is read three times, from the nearest cache where it fits: the variance of differences from the mean keeps the
digits that the mean of squares would lose.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch.fx import Node

from prunus.backends.kernels.affine import Parameter, dims_of, read_inputs
from prunus.backends.kernels.emit import Memory, address, kernel, load, split
from prunus.backends.kernels.family import Defaults, Epilogue, Match, No, OperandLayout, Request
from prunus.backends.kernels.loops import collapse
from prunus.backends.kernels.rows import CHAINS, Partials, Sweep, memory_order, spread, store_after, stream_cycles
from prunus.backends.kernels.tiling import epilogue_cycles
from prunus.backends.kernels.tir import T
from prunus.backends.kernels.vector_math import Math, splat
from prunus.backends.plan.layout import DimOrder, channels_last
from prunus.backends.plan.program import View
from prunus.passes.arguments import arguments
from prunus.passes.graph import aten, is_op
from prunus.targets import Target


@dataclass(frozen=True)
class RowNorm:
    """Problem. Strides are over the loops (*rows, *elements), each from the slowest in memory to the fastest.

    Attributes:
        centred: the mean is taken away first; not in RMS norm.
        epsilon: what is added to the variance.
        rows, elements: loop sizes.
        read_sizes, read_strides: the elements' loops of the input alone, as few as possible.
    """

    centred: bool
    epsilon: float
    rows: tuple[int, ...]
    elements: tuple[int, ...]
    read_sizes: tuple[int, ...]
    read_strides: tuple[int, ...]
    input_strides: tuple[int, ...]
    output_strides: tuple[int, ...]
    weight: Parameter | None
    bias: Parameter | None
    epilogue: Epilogue


@dataclass(frozen=True)
class RowNormKnob:
    """Way of computing: `chains` vectors of `lanes` at the same time."""

    lanes: int
    chains: int


class Normalization(Defaults):
    """The family; see the module's docstring."""

    name = "norm"

    def claims(self, anchor: Node) -> bool:
        return is_op(anchor, aten.layer_norm.default, aten.rms_norm.default, aten.group_norm.default)

    def wants(self, anchor: Node, position: int, view: View) -> DimOrder | None:
        rank = len(view.shape)
        first = 1 if is_op(anchor, aten.group_norm) else rank - len(arguments(anchor).normalized_shape)
        dims = [dim for dim in range(first, rank) if view.shape[dim] != 1]
        if position != 0 or not dims or any(view.strides[dim] == 1 for dim in dims):
            return None
        return channels_last(rank) if is_op(anchor, aten.group_norm) else tuple(range(rank))

    def order(self, anchor: Node, inputs: dict[int, View], rank: int) -> DimOrder:
        return memory_order(inputs[0])

    def match(self, request: Request, target: Target) -> Match | No:
        anchor, output = request.anchor, request.output
        assert anchor is not None
        inputs = read_inputs(request)
        if isinstance(inputs, No):
            return inputs
        view = inputs.reads[0]
        dims = dims_of(anchor, view)
        parameters = [parameter for parameter in (inputs.weight, inputs.bias) if parameter is not None]
        strides = [dims.of(other.strides) for other in (view, output, *request.operands)]
        strides += [dims.of_parameter(parameter.strides) for parameter in parameters]
        first = dims.first
        rows = collapse(dims.shape[:first], [over[:first] for over in strides], sort_by=0)
        elements = collapse(dims.shape[first:], [over[first:] for over in strides], sort_by=0)
        alone = collapse(dims.shape[first:], [strides[0][first:]], sort_by=0)
        loops = [(*(a or (0,)), *(b or (0,))) for a, b in zip(rows.strides, elements.strides, strict=True)]
        after = 2 + len(request.operands)
        layouts = zip(request.operands, loops[2:after], strict=True)
        over_loops = iter(loops[after:])
        weight, bias = (
            None if parameter is None else Parameter(parameter.position, next(over_loops))
            for parameter in (inputs.weight, inputs.bias)
        )
        problem = RowNorm(
            centred=not is_op(anchor, aten.rms_norm),
            epsilon=arguments(anchor).eps,
            rows=rows.sizes or (1,),
            elements=elements.sizes or (1,),
            read_sizes=alone.sizes or (1,),
            read_strides=alone.strides[0] or (0,),
            input_strides=loops[0],
            output_strides=loops[1],
            weight=weight,
            bias=bias,
            epilogue=Epilogue(
                request.epilogue, tuple(OperandLayout(v.buffer.dtype, over) for v, over in layouts), output.buffer.dtype
            ),
        )
        return Match(problem, inputs.reads, request.outputs, request.operands, inputs.tensors, shares=(0,))

    def knobs(self, problem: RowNorm, target: Target) -> Sequence[RowNormKnob]:
        lanes = target.lanes() if problem.input_strides[-1] == 1 else 1
        return [RowNormKnob(lanes, chains) for chains in (CHAINS // 2, CHAINS, 2)]

    def units(self, problem: RowNorm, knob: RowNormKnob) -> int:
        return math.prod(problem.rows)

    def estimate(self, problem: RowNorm, knob: RowNormKnob, target: Target) -> float:
        rows = math.prod(problem.rows)
        elements = rows * math.prod(problem.elements)
        statistics = stream_cycles(elements, knob.lanes, 2.0, 3.0, target)
        result = stream_cycles(elements, knob.lanes, 4.0, 3.0, target)
        ends = rows * 2 * 6.0 * (1 + math.log2(knob.lanes))
        return statistics + result + ends + epilogue_cycles(problem.epilogue, elements, target)

    def emit(self, problem: RowNorm, knob: RowNormKnob, target: Target) -> Any:
        dtypes = ["float32"] * (1 + sum(parameter is not None for parameter in (problem.weight, problem.bias)))
        dtypes += [*(operand.dtype for operand in problem.epilogue.operands), problem.epilogue.dtype]

        def body(memories: list[Memory], begin: Any, end: Any) -> None:
            with T.serial(begin, end) as unit:
                _row(problem, knob, target, memories, unit)

        return kernel(target, dtypes, body)


def _row(problem: RowNorm, knob: RowNormKnob, target: Target, memories: list[Memory], unit: Any) -> None:
    """One unit is one row, whose elements are the lanes."""
    kept, x, y = split(unit, problem.rows), memories[0], memories[-1]
    operands = memories[-1 - len(problem.epilogue.operands) : -1]
    base = T.bind(address(kept, problem.input_strides[: len(kept)]))
    count = math.prod(problem.elements)
    alone = Sweep(problem.read_sizes, knob.lanes, knob.chains)

    def gather(compute: Callable[[Any, Any, Math], Any]) -> Any:
        """Return the mean over the row of what `compute` adds to a sum."""
        sums = Partials("sum", alone.widths, target)

        def visit(indices: list[Any], lanes: int, slot: int) -> None:
            value = T.bind(load(x, base + address(indices, problem.read_strides), lanes))
            sums[slot] = compute(value, sums[slot], Math("float32", lanes))

        alone.run(visit)
        return T.bind(sums.total() * splat(1.0 / count, "float32", 1))

    def squares(value: Any, total: Any, m: Math) -> Any:
        centred = T.bind(value - spread(mean, m.lanes)) if problem.centred else value
        return m.fma(centred, centred, total)

    mean = gather(lambda value, total, m: total + value) if problem.centred else None
    one = Math("float32", 1)
    scale = T.bind(one(1) / one.llvm("llvm.sqrt", gather(squares) + one(problem.epsilon)))

    def finish(indices: list[Any], lanes: int, slot: int) -> None:
        place, m = (*kept, *indices), Math("float32", lanes)

        def parameter(which: Parameter) -> Any:
            return load(memories[which.position], address(place, which.strides), lanes, which.strides[-1])

        value = load(x, address(place, problem.input_strides), lanes)
        centred = value - spread(mean, lanes) if problem.centred else value
        factor = spread(scale, lanes)
        if problem.weight is not None:
            factor = factor * parameter(problem.weight)
        value = centred * factor if problem.bias is None else m.fma(centred, factor, parameter(problem.bias))
        store_after(problem.epilogue, operands, y, value, place, problem.output_strides, lanes)

    Sweep(problem.elements, knob.lanes, min(knob.chains, CHAINS // 2)).run(finish)
