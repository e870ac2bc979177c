"""Padding with a constant, where it is not part of a convolution: each row is a fill, a copy and a fill."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.fx import Node

from prunus.backends.kernels.emit import Memory, address, kernel, load, spans, split, store, when
from prunus.backends.kernels.expression import Accumulator
from prunus.backends.kernels.family import Defaults, Match, No, Request
from prunus.backends.kernels.tir import T
from prunus.backends.kernels.vector_math import splat
from prunus.backends.plan.layout import DimOrder
from prunus.backends.plan.program import View
from prunus.backends.plan.views import order_of
from prunus.passes.arguments import arguments
from prunus.passes.graph import aten, is_op
from prunus.targets import Target


@dataclass(frozen=True)
class PaddedLoop:
    """One loop over the output: `before` elements of padding, `input_size` of the input, padding up to `size`."""

    size: int
    before: int
    input_size: int
    output_stride: int
    input_stride: int

    @property
    def padded(self) -> bool:
        return self.size != self.input_size


@dataclass(frozen=True)
class Pad:
    """Problem: loops from the outermost to the innermost."""

    loops: tuple[PaddedLoop, ...]
    value: float
    dtype: str


@dataclass(frozen=True)
class PadKnob:
    """Way of computing: lanes of a copy."""

    lanes: int


class PadWithConstant(Defaults):
    """The family; see the module's docstring."""

    name = "pad"

    def claims(self, anchor: Node) -> bool:
        return is_op(anchor, aten.constant_pad_nd.default)

    def order(self, anchor: Node, inputs: dict[int, View], rank: int) -> DimOrder:
        return order_of(inputs[0]) if 0 in inputs else tuple(range(rank))

    def match(self, request: Request, target: Target) -> Match | No:
        assert request.anchor is not None
        if 0 not in request.inputs:
            return No("its input is a constant")
        if not isinstance(request.epilogue, Accumulator):
            return No("nothing can be fused behind it")
        call = arguments(request.anchor)
        if min(call.pad, default=0) < 0:
            return No("it cuts elements off (negative padding)")
        view, output = request.inputs[0], request.output
        missing = len(view.shape) - len(call.pad) // 2
        before = [0] * missing + list(call.pad[::2])[::-1]
        loops = tuple(map(PaddedLoop, output.shape, before, view.shape, output.strides, view.strides))
        dtype = "uint8" if output.buffer.dtype == "bool" else output.buffer.dtype
        value = float(call.value or 0) if dtype.startswith("float") else int(call.value or 0)
        return Match(Pad(join(loops), value, dtype), (view,), request.outputs)

    def knobs(self, problem: Pad, target: Target) -> Sequence[PadKnob]:
        return [PadKnob(target.lanes(8 * np.dtype(problem.dtype).itemsize))]

    def units(self, problem: Pad, knob: PadKnob) -> int:
        return math.prod(item.size for item in problem.loops[:-1])

    def estimate(self, problem: Pad, knob: PadKnob, target: Target) -> float:
        return self.units(problem, knob) * (problem.loops[-1].size * 1.5 / knob.lanes + 10.0)

    def emit(self, problem: Pad, knob: PadKnob, target: Target) -> Any:
        *outer_loops, row = problem.loops
        output_strides = [item.output_stride for item in problem.loops]

        def body(memories: list[Memory], begin: Any, end: Any) -> None:
            source, output = memories

            def fill(outer: Sequence[Any], start: int, count: int) -> None:
                for inner, lanes in spans(count, knob.lanes):
                    place = address([*outer, start + inner], output_strides)
                    store(output, place, splat(problem.value, problem.dtype, lanes), lanes, row.output_stride)

            with T.serial(begin, end) as unit:
                outer = split(unit, [item.size for item in outer_loops]) if outer_loops else []
                inside: Any = True
                for index, item in zip(outer, outer_loops, strict=True):
                    if item.padded:
                        here = T.And(index >= item.before, index < item.before + item.input_size)
                        inside = here if inside is True else T.And(inside, here)
                with when(inside):
                    fill(outer, 0, row.before)
                    starts = [index - item.before for index, item in zip(outer, outer_loops, strict=True)]
                    for inner, lanes in spans(row.input_size, knob.lanes):
                        read = address([*starts, inner], [item.input_stride for item in problem.loops])
                        value = load(source, read, lanes, row.input_stride)
                        place = address([*outer, row.before + inner], output_strides)
                        store(output, place, value, lanes, row.output_stride)
                    fill(outer, row.before + row.input_size, row.size - row.before - row.input_size)
                if inside is not True:
                    with when(T.Not(inside)):
                        fill(outer, 0, row.size)

        return kernel(target, [problem.dtype, problem.dtype], body)


def join(loops: Sequence[PaddedLoop]) -> tuple[PaddedLoop, ...]:
    """Order loops by the output's memory, and join those without padding to the loop around them.

    before:  for w in pad 1, 6, pad 1: for c in 5
    after:   for wc in pad 5, 30, pad 5
    """
    joined: list[PaddedLoop] = []
    for inner in sorted(
        (item for item in loops if item.size != 1 or item.padded), key=lambda item: -item.output_stride
    ):
        outer = joined[-1] if joined else None
        if (
            outer is not None
            and not inner.padded
            and outer.output_stride == inner.output_stride * inner.size
            and (outer.input_stride == inner.input_stride * inner.size or outer.input_size == 1)
        ):
            size = inner.size
            joined[-1] = PaddedLoop(
                outer.size * size, outer.before * size, outer.input_size * size, inner.output_stride, inner.input_stride
            )
        else:
            joined.append(inner)
    return tuple(joined) or (PaddedLoop(1, 0, 1, 1, 1),)
