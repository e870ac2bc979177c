"""Chains of element-wise operators, and copies from one memory layout to another, as one loop nest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch.fx import Node

from prunus.backends.kernels.emit import Memory, address, evaluate, kernel, load, loop, pieces, split, store, when
from prunus.backends.kernels.expression import operation_count, walk
from prunus.backends.kernels.family import Defaults, Epilogue, Match, No, OperandLayout, Request
from prunus.backends.kernels.loops import collapse
from prunus.backends.kernels.tir import T
from prunus.targets import Target


@dataclass(frozen=True)
class Elementwise:
    """Problem: loops from the outermost to the innermost; the operands' strides are over the same loops."""

    sizes: tuple[int, ...]
    output_strides: tuple[int, ...]
    epilogue: Epilogue


@dataclass(frozen=True)
class ElementwiseKnob:
    """Way of computing: `unroll` vectors of `lanes` elements at a time."""

    lanes: int
    unroll: int


class ElementwiseChain(Defaults):
    """The family; its groups have no anchor."""

    name = "elementwise"

    def claims(self, anchor: Node) -> bool:
        return False

    def match(self, request: Request, target: Target) -> Match | No:
        output = request.output
        nest = collapse(output.shape, [output.strides, *(view.strides for view in request.operands)], sort_by=0)
        strides = [over or (0,) for over in nest.strides]
        layouts = tuple(
            OperandLayout(view.buffer.dtype, over) for view, over in zip(request.operands, strides[1:], strict=True)
        )
        epilogue = Epilogue(request.epilogue, layouts, output.buffer.dtype)
        problem = Elementwise(nest.sizes or (1,), strides[0], epilogue)
        return Match(problem, (), request.outputs, request.operands, shares=tuple(range(len(request.operands))))

    def knobs(self, problem: Elementwise, target: Target) -> Sequence[ElementwiseKnob]:
        dtypes = {item.dtype for item in walk(problem.epilogue.expression)} | {problem.epilogue.dtype}
        bytes_only = dtypes <= {"int8", "uint8"}
        widest = max({"float64": 64, "int64": 64}.get(dtype, 8 if bytes_only else 32) for dtype in dtypes)
        lanes = target.vector_bits // widest
        return [ElementwiseKnob(lanes, unroll) for unroll in (2, 4, 1, 8)]

    def units(self, problem: Elementwise, knob: ElementwiseKnob) -> int:
        if len(problem.sizes) == 1:
            return -(-problem.sizes[0] // (knob.lanes * knob.unroll))
        total = 1
        for size in problem.sizes[:-1]:
            total *= size
        return total

    def estimate(self, problem: Elementwise, knob: ElementwiseKnob, target: Target) -> float:
        elements = 1
        for size in problem.sizes:
            elements *= size
        strided = sum(operand.strides[-1] not in (0, 1) for operand in problem.epilogue.operands)
        rate = max(1.0, target.fma_per_cycle / target.lanes())
        work = (operation_count(problem.epilogue.expression) + len(problem.epilogue.operands) + 1) / rate
        return elements * (work / knob.lanes + strided) + 4 * self.units(problem, knob)

    def emit(self, problem: Elementwise, knob: ElementwiseKnob, target: Target) -> Any:
        epilogue = problem.epilogue

        def body(memories: list[Memory], begin: Any, end: Any) -> None:
            operands, output = memories[:-1], memories[-1]

            def compute(indices: Sequence[Any], lanes: int) -> None:
                def read(operand: int, lanes: int) -> Any:
                    strides = epilogue.operands[operand].strides
                    return load(operands[operand], address(indices, strides), lanes, strides[-1])

                value = evaluate(epilogue.expression, lanes, None, read)
                store(output, address(indices, problem.output_strides), value, lanes, problem.output_strides[-1])

            step = knob.lanes * knob.unroll
            inner = problem.sizes[-1]
            with T.serial(begin, end) as unit:
                if len(problem.sizes) == 1:
                    _flat(unit, inner, step, knob, compute)
                else:
                    outer = split(unit, problem.sizes[:-1])
                    with loop(0, inner // step) as block:
                        for v in range(knob.unroll if inner >= step else 0):
                            compute([*outer, block * step + v * knob.lanes], knob.lanes)
                    for start, lanes in pieces(inner % step, knob.lanes):
                        compute([*outer, inner - inner % step + start], lanes)

        return kernel(target, [*(operand.dtype for operand in epilogue.operands), epilogue.dtype], body)


def _flat(unit: Any, size: int, step: int, knob: ElementwiseKnob, compute: Any) -> None:
    """One unit is one block of `step` elements; the last may be shorter."""
    full = size // step
    if full:
        with when(True if size % step == 0 else unit < full):
            for v in range(knob.unroll):
                compute([unit * step + v * knob.lanes], knob.lanes)
    if size % step:
        with when(True if full == 0 else unit == full):
            for start, lanes in pieces(size % step, knob.lanes):
                compute([full * step + start], lanes)
