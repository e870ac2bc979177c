"""Running sums along one dimension (`cumsum`): the other dimensions are loops and vectors."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.fx import Node

from prunus.backends.kernels.emit import Memory, Registers, address, kernel, load, spans, split, store
from prunus.backends.kernels.expression import Accumulator
from prunus.backends.kernels.family import Defaults, Match, No, Request
from prunus.backends.kernels.loops import collapse
from prunus.backends.kernels.tir import T
from prunus.backends.kernels.vector_math import lane_dtype, splat
from prunus.backends.plan.layout import DimOrder
from prunus.backends.plan.program import View
from prunus.backends.plan.views import order_of
from prunus.passes.arguments import arguments
from prunus.passes.graph import aten, is_op
from prunus.targets import Target


@dataclass(frozen=True)
class Scan:
    """Problem: loops over everything but the summed dimension, and that dimension: its length and strides.

    Strides of input and output are pairs, in this order.
    """

    sizes: tuple[int, ...]
    strides: tuple[tuple[int, ...], tuple[int, ...]]
    length: int
    steps: tuple[int, int]
    input_dtype: str
    dtype: str


@dataclass(frozen=True)
class ScanKnob:
    """Way of computing: sums side by side."""

    lanes: int


class RunningSums(Defaults):
    """The family; see the module's docstring."""

    name = "scan"

    def claims(self, anchor: Node) -> bool:
        return is_op(anchor, aten.cumsum.default)

    def order(self, anchor: Node, inputs: dict[int, View], rank: int) -> DimOrder:
        return order_of(inputs[0]) if 0 in inputs else tuple(range(rank))

    def match(self, request: Request, target: Target) -> Match | No:
        assert request.anchor is not None
        if 0 not in request.inputs:
            return No("its input is a constant")
        if not isinstance(request.epilogue, Accumulator):
            return No("nothing can be fused behind it")
        view, output, rank = request.inputs[0], request.output, len(request.output.shape)
        dim = arguments(request.anchor).dim % max(rank, 1)
        others = [place for place in range(rank) if place != dim]
        outside = [tuple(item.strides[place] for place in others) for item in (view, output)]
        nest = collapse([output.shape[place] for place in others], outside, sort_by=1)
        strides = [over or (0,) for over in nest.strides]
        problem = Scan(
            sizes=nest.sizes or (1,),
            strides=(strides[0], strides[1]),
            length=output.shape[dim] if rank else 1,
            steps=(view.strides[dim], output.strides[dim]) if rank else (0, 0),
            input_dtype=view.buffer.dtype,
            dtype=output.buffer.dtype,
        )
        return Match(problem, (view,), request.outputs)

    def knobs(self, problem: Scan, target: Target) -> Sequence[ScanKnob]:
        beside = problem.strides[1][-1] == 1
        return [ScanKnob(target.lanes(8 * np.dtype(problem.dtype).itemsize) if beside else 1)]

    def units(self, problem: Scan, knob: ScanKnob) -> int:
        return math.prod(problem.sizes[:-1])

    def estimate(self, problem: Scan, knob: ScanKnob, target: Target) -> float:
        return self.units(problem, knob) * -(-problem.sizes[-1] // knob.lanes) * (4.0 * problem.length + 4.0)

    def emit(self, problem: Scan, knob: ScanKnob, target: Target) -> Any:
        def body(memories: list[Memory], begin: Any, end: Any) -> None:
            source, output = memories
            with T.serial(begin, end) as unit:
                outer = split(unit, problem.sizes[:-1]) if len(problem.sizes) > 1 else []
                for inner, lanes in spans(problem.sizes[-1], knob.lanes):
                    start, place = (T.bind(T.cast(address([*outer, inner], over), "int32")) for over in problem.strides)
                    total = Registers(1, lanes, problem.dtype)
                    total[0] = splat(0, problem.dtype, lanes)
                    with T.serial(0, problem.length) as index:
                        value = load(source, start + index * problem.steps[0], lanes, problem.strides[0][-1])
                        total[0] = total[0] + T.cast(value, lane_dtype(problem.dtype, lanes))
                        store(output, place + index * problem.steps[1], total[0], lanes, problem.strides[1][-1])

        return kernel(target, [problem.input_dtype, problem.dtype], body)
