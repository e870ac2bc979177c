"""Averages of int8, of whole dimensions or of windows: `prunus::qmean` and `prunus::qavg_pool2d`.

A mean over a dimension is one window that covers it. Channels are the lanes where they are neighbours in memory.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.fx import Node

from prunus.backends.kernels.emit import Index, Memory, Registers, address, kernel, load, loop, spans, split, store
from prunus.backends.kernels.expression import Accumulator
from prunus.backends.kernels.family import Defaults, Match, No, Request
from prunus.backends.kernels.requantize import Requantize, convert
from prunus.backends.kernels.tir import T
from prunus.backends.kernels.vector_math import lane_dtype, splat
from prunus.backends.kernels.window import Axis
from prunus.backends.plan.layout import DimOrder, channels_last
from prunus.backends.plan.program import View
from prunus.passes.arguments import arguments
from prunus.passes.graph import is_op
from prunus.passes.operators.quantized import INT8_HIGH, INT8_LOW
from prunus.targets import Target

_MEAN, _POOL = torch.ops.prunus.qmean.default, torch.ops.prunus.qavg_pool2d.default


@dataclass(frozen=True)
class Average:
    """Problem. Strides are over (*outer, *axes, channel).

    Attributes:
        outer: sizes of loops that windows do not mix, apart from the channel.
        axes: what windows go over.
        channels: lanes.
        factors: the scale over the count, float32, for each window of the axes in order; one number where all agree.
        zero_point: the input's.
        requantize: back to int8.
    """

    outer: tuple[int, ...]
    axes: tuple[Axis, ...]
    channels: int
    input_strides: tuple[int, ...]
    output_strides: tuple[int, ...]
    same_factors: bool
    zero_point: int
    requantize: Requantize


@dataclass(frozen=True)
class AverageKnob:
    """Way of computing: channels at a time."""

    lanes: int


class IntegerAverage(Defaults):
    """The family; see the module's docstring."""

    name = "quantized_average"

    def claims(self, anchor: Node) -> bool:
        return is_op(anchor, _MEAN, _POOL)

    def wants(self, anchor: Node, position: int, view: View) -> DimOrder | None:
        pool = is_op(anchor, _POOL) and view.strides[1] != 1 and view.shape[1] > 1
        return channels_last(len(view.shape)) if pool else None

    def order(self, anchor: Node, inputs: dict[int, View], rank: int) -> DimOrder:
        return channels_last(rank) if is_op(anchor, _POOL) else tuple(range(rank))

    def match(self, request: Request, target: Target) -> Match | No:
        anchor, output = request.anchor, request.output
        assert anchor is not None
        if 0 not in request.inputs:
            return No("its input is a constant")
        if not isinstance(request.epilogue, Accumulator):
            return No("nothing can be fused behind it")
        view, call = request.inputs[0], arguments(anchor)
        rank = len(view.shape)
        mixed = [2, 3] if is_op(anchor, _POOL) else sorted(dim % rank for dim in call.dims)
        kept = [dim for dim in range(rank) if dim not in mixed]
        strides = _output_strides(call, output, kept, mixed)
        axes = _pool_axes(call, view, output) if is_op(anchor, _POOL) else tuple(
            Axis(view.shape[dim], 1, view.shape[dim]) for dim in mixed
        )  # fmt: skip
        lanes = [dim for dim in kept if view.strides[dim] == 1 and strides[dim] == 1][-1:]
        loops = [*(dim for dim in kept if dim not in lanes), *mixed, *lanes]
        factors = _factors(call, axes, view, is_op(anchor, _POOL))
        # No average of a window leaves the range of its elements.
        fits = call.scale * 255 < 2**30
        same = bool((factors == factors[0]).all())
        problem = Average(
            outer=tuple(view.shape[dim] for dim in kept if dim not in lanes),
            axes=axes,
            channels=view.shape[lanes[0]] if lanes else 1,
            input_strides=(*(view.strides[dim] for dim in loops), *(() if lanes else (0,))),
            output_strides=(*(strides[dim] for dim in loops), *(() if lanes else (0,))),
            same_factors=same,
            zero_point=call.x_zero_point,
            requantize=Requantize(call.zero_point, INT8_LOW, INT8_HIGH, fits=fits),
        )
        tensors = (torch.from_numpy(factors[:1] if same else factors),)
        return Match(problem, (view,), request.outputs, tensors=tensors)

    def knobs(self, problem: Average, target: Target) -> Sequence[AverageKnob]:
        return [AverageKnob(target.lanes(16)), AverageKnob(target.lanes()), AverageKnob(target.lanes(8))]

    def units(self, problem: Average, knob: AverageKnob) -> int:
        return prod(problem.outer) * prod(axis.output_size for axis in problem.axes)

    def estimate(self, problem: Average, knob: AverageKnob, target: Target) -> float:
        reads = prod(problem.outer) * prod(axis.macs() for axis in problem.axes)
        return reads * -(-problem.channels // knob.lanes) * 4.0 + 20.0 * self.units(problem, knob)

    def emit(self, problem: Average, knob: AverageKnob, target: Target) -> Any:
        def body(memories: list[Memory], begin: Any, end: Any) -> None:
            x, factors, y = memories
            windows = [axis.output_size for axis in problem.axes]
            phases = [axis.phases()[0] for axis in problem.axes]
            channel_in, channel_out = problem.input_strides[-1], problem.output_strides[-1]
            outer_count = len(problem.outer)
            with T.serial(begin, end) as unit:
                place = split(unit, (*problem.outer, *windows))
                outer, window = place[:outer_count], place[outer_count:]
                bounds = [phase.bounds(q) for phase, q in zip(phases, window, strict=True)]
                inside: Index = 1
                for low, high in bounds:
                    inside = inside * (high - low)
                shift = T.bind(T.cast(inside * problem.zero_point, "int32"))
                number = 0 if problem.same_factors else T.bind(address(window, _row_major(windows)))
                factor = T.bind(load(factors, number))
                source = T.bind(address(outer, problem.input_strides[:outer_count]))
                target_place = T.bind(address(place, problem.output_strides[:-1]))
                for channel, lanes in spans(problem.channels, knob.lanes):
                    wide = lane_dtype("int32", lanes)
                    sums = Registers(1, lanes, "int32")
                    sums[0] = splat(0, "int32", lanes)
                    with ExitStack() as stack:
                        at = source + channel * channel_in
                        for axis, (phase, q, (low, high)) in enumerate(zip(phases, window, bounds, strict=True)):
                            i = stack.enter_context(loop(low, high))
                            step = problem.input_strides[outer_count + axis]
                            at = at + (q * phase.input_step + phase.taps.offset(i)) * step
                        sums[0] = sums[0] + T.cast(load(x, at, lanes, channel_in), wide)
                    scale, total = (v if lanes == 1 else T.broadcast(v, lanes) for v in (factor, shift))
                    value = convert(sums[0] - total, scale, problem.requantize, lanes, target)
                    store(y, target_place + channel * channel_out, value, lanes, channel_out)

        return kernel(target, ["int8", "float32", "int8"], body)


def _pool_axes(call: SimpleNamespace, view: View, output: View) -> tuple[Axis, ...]:
    return tuple(
        Axis(view.shape[2 + d], output.shape[2 + d], call.kernel_size[d], call.stride[d], 1, call.padding[d])
        for d in (0, 1)
    )


def _output_strides(call: SimpleNamespace, output: View, kept: Sequence[int], mixed: Sequence[int]) -> dict[int, int]:
    """Return the result's strides by dimensions of the input, 0 for those that it lacks."""
    if getattr(call, "keepdim", True):
        return dict(enumerate(output.strides))
    return dict.fromkeys(mixed, 0) | dict(zip(kept, output.strides, strict=True))


def _factors(call: SimpleNamespace, axes: Sequence[Axis], view: View, pool: bool) -> np.ndarray:
    """Return float32(scale / count) of every window, the last axis fastest."""
    counts = np.ones(1)
    for axis in axes:
        (phase,) = axis.phases()
        along = np.array([len(phase.valid(q)) for q in range(phase.outputs)])
        if pool and call.count_include_pad:
            # Padding counts; what a window of `ceil_mode` has beyond it does not.
            starts = np.arange(phase.outputs) * axis.stride - axis.padding
            along = np.minimum(starts + axis.kernel, axis.input_size + axis.padding) - starts
        counts = (counts[:, None] * along).reshape(-1)
    return (call.scale / counts).astype(np.float32)


def _row_major(sizes: Sequence[int]) -> list[int]:
    return [prod(sizes[dim + 1 :]) for dim in range(len(sizes))]
