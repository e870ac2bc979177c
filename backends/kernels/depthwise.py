"""Depthwise convolution: each channel with its own small kernel, channels across the lanes.

A tile of output columns is held in registers; each input vector of a row is loaded once and serves every tap that
reads it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.fx import Node

from prunus.backends.kernels.convolution import convolution_arguments, lift
from prunus.backends.kernels.emit import Memory, Registers, address, kernel, load, loop, split
from prunus.backends.kernels.family import Defaults, Epilogue, Match, No, Request, epilogue_of, unlike_a_layer
from prunus.backends.kernels.tiling import Columns, accumulator_limit, epilogue_cycles, finish
from prunus.backends.kernels.tir import T
from prunus.backends.kernels.vector_math import splat
from prunus.backends.kernels.window import Axis, Phase, Tile
from prunus.backends.plan.layout import DimOrder, channels_last
from prunus.backends.plan.program import View
from prunus.passes.graph import aten, is_op, shape
from prunus.targets import Target


@dataclass(frozen=True)
class Depthwise:
    """Problem. Strides are (batch, row, column, channel), in elements; the channel's is 1."""

    batch: int
    channels: int
    rows: Axis
    columns: Axis
    input_strides: tuple[int, int, int, int]
    output_strides: tuple[int, int, int, int]
    bias: bool
    epilogue: Epilogue


@dataclass(frozen=True)
class DepthwiseKnob:
    """Way of computing: `pixels` by `vectors` registers of `lanes`."""

    lanes: int
    pixels: int
    vectors: int


class DepthwiseConvolution(Defaults):
    """The family; see the module's docstring."""

    name = "depthwise"

    def claims(self, anchor: Node) -> bool:
        if not is_op(anchor, aten.conv1d.default, aten.conv2d.default):
            return False
        weight = anchor.args[1]
        groups = convolution_arguments(anchor).groups
        return isinstance(weight, Node) and shape(weight)[:2] == (groups, 1) and groups > 1

    def wants(self, anchor: Node, position: int, view: View) -> DimOrder | None:
        return None if position != 0 or view.strides[1] == 1 else channels_last(len(view.shape))

    def order(self, anchor: Node, inputs: dict[int, View], rank: int) -> DimOrder:
        return channels_last(rank)

    def match(self, request: Request, target: Target) -> Match | No:
        anchor, output = request.anchor, request.output
        assert anchor is not None
        refusal = unlike_a_layer(request)
        if refusal is not None:
            return refusal
        if output.strides[1] != 1 or request.inputs[0].strides[1] != 1:
            return No("channels are not neighbours in memory")
        weight, arguments, view = request.constants[1], convolution_arguments(anchor), request.inputs[0]
        batch, in_rows, in_columns, channels = lift(view.shape, 1)
        _, out_rows, out_columns, _ = lift(output.shape, 1)
        taps = (1, weight.shape[2]) if weight.dim() == 3 else tuple(weight.shape[2:])
        before = [pad for pad, _ in request.padding][-2:]
        before = [0] * (2 - len(before)) + before

        def axis(dim: int, size_in: int, size_out: int) -> Axis:
            padding = arguments.padding[dim] + before[dim]
            return Axis(size_in, size_out, taps[dim], arguments.stride[dim], arguments.dilation[dim], padding)

        problem = Depthwise(
            batch=batch,
            channels=channels,
            rows=axis(0, in_rows, out_rows),
            columns=axis(1, in_columns, out_columns),
            input_strides=lift(view.strides, 0),
            output_strides=lift(output.strides, 0),
            bias=2 in request.constants,
            epilogue=epilogue_of(request, lambda other: lift(other.strides, 0)),
        )
        macs = batch * channels * problem.rows.macs() * problem.columns.macs()
        tensors = (weight, *([request.constants[2]] if problem.bias else []))
        shares = tuple(range(1, 1 + len(request.operands)))
        return Match(problem, (view,), request.outputs, request.operands, tensors, macs, shares)

    def knobs(self, problem: Depthwise, target: Target) -> Sequence[DepthwiseKnob]:
        width, taps = problem.columns.output_size, problem.columns.kernel
        found: dict[DepthwiseKnob, None] = {}
        for vectors in (1, 2, 3, 4):
            if vectors > 1 and (vectors - 1) * target.lanes() >= problem.channels:
                break
            # Beside the sums, registers hold the weights of a row of taps and one input.
            most = min(width, max(1, (accumulator_limit(target) - 1 - min(taps, 5) * vectors) // vectors))
            for pixels in {most, *(fewer for fewer in (2, 4, 6, 8, 12) if fewer < most)}:
                found[DepthwiseKnob(target.lanes(), pixels, vectors)] = None
        return sorted(found, key=lambda knob: self.estimate(problem, knob, target))

    def pack(self, problem: Depthwise, knob: DepthwiseKnob, tensors: Sequence[torch.Tensor]) -> tuple[np.ndarray, ...]:
        taps = tensors[0].detach().numpy().reshape(problem.channels, -1).T
        weights = np.ascontiguousarray(taps)
        return (weights, np.ascontiguousarray(tensors[1].detach().numpy())) if problem.bias else (weights,)

    def units(self, problem: Depthwise, knob: DepthwiseKnob) -> int:
        return problem.batch * problem.rows.output_size

    def estimate(self, problem: Depthwise, knob: DepthwiseKnob, target: Target) -> float:
        rate = max(1.0, target.fma_per_cycle / target.lanes())
        loads_per_cycle = 2 if target.architecture == "x86_64" or target.fma_per_cycle >= 8 else 1
        cycles = 0.0
        taps, stride, dilation = problem.columns.kernel, problem.columns.stride, problem.columns.dilation
        for phase in problem.columns.phases():
            for tile in phase.tiles(knob.pixels):
                inputs = min((tile.width - 1) * stride + (taps - 1) * dilation + 1, tile.width * taps)
                multiplies = tile.width * taps * knob.vectors / rate
                loads = (inputs + taps) * knob.vectors / loads_per_cycle
                chain = 4.0 * taps
                cycles += tile.repeats * max(multiplies, loads, chain)
        blocks = -(-problem.channels // (knob.lanes * knob.vectors))
        elements = problem.batch * problem.channels * problem.rows.output_size * problem.columns.output_size
        overhead = 2.0 * elements / knob.lanes
        rows = problem.batch * problem.rows.macs()
        return cycles * blocks * rows + overhead + epilogue_cycles(problem.epilogue, elements, target)

    def emit(self, problem: Depthwise, knob: DepthwiseKnob, target: Target) -> Any:
        dtypes = ["float32", "float32", *(["float32"] if problem.bias else [])]
        dtypes += [*(operand.dtype for operand in problem.epilogue.operands), problem.epilogue.dtype]
        return kernel(target, dtypes, lambda memories, begin, end: _Emitter(problem, knob, memories).run(begin, end))


class _Emitter:
    """Writes the loops of one depthwise convolution."""

    def __init__(self, problem: Depthwise, knob: DepthwiseKnob, memories: list[Memory]) -> None:
        self.problem, self.knob = problem, knob
        self.columns = Columns(problem.channels, knob.lanes, knob.vectors, exact=True)
        self.x, self.w = memories[0], memories[1]
        self.b = memories[2] if problem.bias else None
        self.operands, self.y = memories[2 + problem.bias : -1], memories[-1]

    def run(self, begin: Any, end: Any) -> None:
        """One unit is one output row; its tiles go over all channels before the next columns."""
        (rows,) = self.problem.rows.phases()
        (columns,) = self.problem.columns.phases()
        with T.serial(begin, end) as unit:
            n, row = split(unit, (self.problem.batch, self.problem.rows.output_size))
            low, high = rows.bounds(row)
            for tile in columns.tiles(self.knob.pixels):
                with loop(0, tile.repeats) as repeat:
                    start = tile.start + repeat * tile.width
                    for tail in self.columns.kinds():
                        with loop(0, 1 if tail else self.columns.full) as index:
                            channel = T.bind(((self.columns.full if tail else 0) + index) * self.columns.block)
                            self._tile(
                                n, row, rows, low, high, columns, tile, start, channel, self.columns.widths(tail)
                            )

    def _tile(
        self, n: Any, row: Any, rows: Phase, low: Any, high: Any, columns: Phase, tile: Tile, start: Any, channel: Any,
        widths: Sequence[int],
    ) -> None:  # fmt: skip
        problem, count = self.problem, len(widths)
        starts = [sum(widths[:v]) for v in range(count)]
        sums = Registers(tile.width * count, list(widths) * tile.width)
        for v in range(count):
            first = splat(0.0, "float32", widths[v])
            if self.b is not None:
                first = T.bind(load(self.b, channel + starts[v], widths[v]))
            for p in range(tile.width):
                sums[p * count + v] = first
        batch_stride, row_stride, column_stride, _ = problem.input_strides
        corner = T.bind(
            address((n,), (batch_stride,)) + channel
            + (start * columns.input_step + columns.taps.first_offset) * column_stride
        )  # fmt: skip
        readers = columns.readers(tile)
        with loop(low, high) as i:
            line = T.bind(corner + (row * rows.input_step + rows.taps.offset(i)) * row_stride)
            taps = T.bind(rows.taps.tap(i) * (columns.taps.count * problem.channels) + channel)
            for v, width in enumerate(widths):
                weights = [
                    T.bind(load(self.w, taps + j * problem.channels + starts[v], width))
                    for j in range(columns.taps.count)
                ]
                kind = "float32" if width == 1 else f"float32x{width}"
                for place, served in readers.items():
                    x = T.bind(load(self.x, line + place * column_stride + starts[v], width))
                    for p, j in served:
                        old = sums[p * count + v]
                        sums[p * count + v] = T.call_llvm_pure_intrin(kind, "llvm.fmuladd", x, weights[j], old)
        for p in range(tile.width):
            for v, width in enumerate(widths):

                def address_of(strides: Sequence[int], lane: int, p: int = p, v: int = v) -> Any:
                    return address((n, row, columns.output(start + p), channel + (starts[v] + lane)), strides)

                index = p * count + v
                finish(
                    sums,
                    index,
                    width,
                    problem.epilogue,
                    self.operands,
                    self.y,
                    address_of,
                    problem.output_strides,
                    width,
                )
