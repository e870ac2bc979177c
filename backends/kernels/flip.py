"""Reversing dimensions: a copy that reads with negative strides."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.fx import Node

from prunus.backends.kernels.emit import Memory, address, kernel, load, spans, split, store
from prunus.backends.kernels.expression import Accumulator
from prunus.backends.kernels.family import Defaults, Match, No, Request
from prunus.backends.kernels.loops import collapse
from prunus.backends.kernels.tir import T
from prunus.backends.plan.layout import DimOrder
from prunus.backends.plan.program import View
from prunus.backends.plan.views import order_of
from prunus.passes.arguments import arguments
from prunus.passes.graph import aten, is_op
from prunus.targets import Target


@dataclass(frozen=True)
class Flip:
    """Problem: loops from the outermost to the innermost; `first` is where the output's first element is read."""

    sizes: tuple[int, ...]
    output_strides: tuple[int, ...]
    source_strides: tuple[int, ...]
    first: int
    dtype: str


@dataclass(frozen=True)
class FlipKnob:
    """Way of computing: lanes of a copy."""

    lanes: int


class FlipDimensions(Defaults):
    """The family; see the module's docstring."""

    name = "flip"

    def claims(self, anchor: Node) -> bool:
        return is_op(anchor, aten.flip.default)

    def order(self, anchor: Node, inputs: dict[int, View], rank: int) -> DimOrder:
        return order_of(inputs[0]) if 0 in inputs else tuple(range(rank))

    def match(self, request: Request, target: Target) -> Match | No:
        assert request.anchor is not None
        if 0 not in request.inputs:
            return No("its input is a constant")
        if not isinstance(request.epilogue, Accumulator):
            return No("nothing can be fused behind it")
        view, output = request.inputs[0], request.output
        flipped = {dim % len(view.shape) for dim in arguments(request.anchor).dims}
        signed = tuple(-step if dim in flipped else step for dim, step in enumerate(view.strides))
        nest = collapse(output.shape, [output.strides, signed], sort_by=0)
        strides = [over or (0,) for over in nest.strides]
        first = sum((view.shape[dim] - 1) * view.strides[dim] for dim in flipped)
        dtype = "uint8" if output.buffer.dtype == "bool" else output.buffer.dtype
        return Match(Flip(nest.sizes or (1,), strides[0], strides[1], first, dtype), (view,), request.outputs)

    def knobs(self, problem: Flip, target: Target) -> Sequence[FlipKnob]:
        return [FlipKnob(target.lanes(8 * np.dtype(problem.dtype).itemsize))]

    def units(self, problem: Flip, knob: FlipKnob) -> int:
        return int(np.prod(problem.sizes[:-1], dtype=np.int64))

    def estimate(self, problem: Flip, knob: FlipKnob, target: Target) -> float:
        return self.units(problem, knob) * (problem.sizes[-1] * 2 / knob.lanes + 6.0)

    def emit(self, problem: Flip, knob: FlipKnob, target: Target) -> Any:
        def body(memories: list[Memory], begin: Any, end: Any) -> None:
            source, output = memories
            with T.serial(begin, end) as unit:
                outer = split(unit, problem.sizes[:-1]) if len(problem.sizes) > 1 else []
                for inner, lanes in spans(problem.sizes[-1], knob.lanes):
                    place = [*outer, inner]
                    value = load(
                        source,
                        problem.first + address(place, problem.source_strides),
                        lanes,
                        problem.source_strides[-1],
                    )
                    store(output, address(place, problem.output_strides), value, lanes, problem.output_strides[-1])

        return kernel(target, [problem.dtype, problem.dtype], body)
