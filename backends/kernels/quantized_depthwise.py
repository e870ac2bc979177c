"""Integer depthwise convolution: each channel with its own small kernel, channels across the lanes.

Exact to `prunus::qconv`.

Products of int8 are exact in int16. As many taps as the weights allow are added up there, the whole kernel where it
fits, and only then widened to int32. LLVM makes `pmullw` of it, or `smlal` and `saddw`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.fx import Node

from prunus.backends.kernels.convolution import lift
from prunus.backends.kernels.emit import (
    Index,
    Memory,
    Registers,
    Vector,
    address,
    evaluate,
    kernel,
    load,
    loop,
    split,
    store,
)
from prunus.backends.kernels.family import Defaults, Epilogue, Match, No, Request, epilogue_of
from prunus.backends.kernels.integer_tile import start_of, wrap_int32
from prunus.backends.kernels.requantize import Requantize, convert, requantize_of
from prunus.backends.kernels.tiling import Columns, epilogue_cycles
from prunus.backends.kernels.tir import T
from prunus.backends.kernels.vector_math import lane_dtype, splat
from prunus.backends.kernels.window import Axis, Phase, Tile
from prunus.backends.plan.layout import DimOrder, channels_last
from prunus.backends.plan.program import View
from prunus.passes.arguments import arguments
from prunus.passes.graph import is_op, shape
from prunus.passes.operators.quantized import sides
from prunus.targets import Target

_OPERATORS = (torch.ops.prunus.qconv.default, torch.ops.prunus.qconv_dequant.default)


@dataclass(frozen=True)
class QuantizedDepthwise:
    """Problem. Strides are (batch, row, column, channel), in elements; the channel's is 1.

    Attributes:
        terms: taps that are added up in int16: some of a row, or all of the kernel.
        zero_point: the input's.
    """

    batch: int
    channels: int
    rows: Axis
    columns: Axis
    input_strides: tuple[int, int, int, int]
    output_strides: tuple[int, int, int, int]
    terms: int
    zero_point: int
    requantize: Requantize | None
    epilogue: Epilogue

    @property
    def whole(self) -> bool:
        """Whether the sum over all taps fits into int16."""
        return self.terms == self.rows.kernel * self.columns.kernel

    @property
    def starts(self) -> tuple[int, ...]:
        """One output row of each section whose sums start from the same numbers."""
        (rows,) = self.rows.phases()
        return rows.sections() if self.zero_point != 0 else (0,)


@dataclass(frozen=True)
class QuantizedDepthwiseKnob:
    """Way of computing: `pixels` by `vectors` registers of `lanes` int16."""

    lanes: int
    pixels: int
    vectors: int


class IntegerDepthwise(Defaults):
    """The family; see the module's docstring."""

    name = "quantized_depthwise"

    def claims(self, anchor: Node) -> bool:
        if not is_op(anchor, *_OPERATORS):
            return False
        call = arguments(anchor)
        return call.groups > 1 and shape(call.weight)[:2] == (call.groups, 1)

    def wants(self, anchor: Node, position: int, view: View) -> DimOrder | None:
        return None if view.strides[1] == 1 else channels_last(len(view.shape))

    def order(self, anchor: Node, inputs: dict[int, View], rank: int) -> DimOrder:
        return channels_last(rank)

    def match(self, request: Request, target: Target) -> Match | No:
        anchor, output = request.anchor, request.output
        assert anchor is not None
        if 0 not in request.inputs or not {1, 3} <= set(request.constants):
            return No("its weight and scale must be constant, its input must not")
        view, weight, call = request.inputs[0], request.constants[1], arguments(anchor)
        if output.strides[1] != 1 or view.strides[1] != 1:
            return No("channels are not neighbours in memory")
        batch, in_rows, in_columns, channels = lift(view.shape, 1)
        _, out_rows, out_columns, _ = lift(output.shape, 1)
        flat = weight.dim() == 3

        def lifted(values: Sequence[int], filler: int) -> tuple[int, int]:
            return (filler, values[0]) if flat else (values[0], values[1])

        taps, stride, dilation = lifted(weight.shape[2:], 1), lifted(call.stride, 1), lifted(call.dilation, 1)
        before = lifted([front for front, _ in sides(call.padding, weight.dim() - 2)], 0)
        problem = QuantizedDepthwise(
            batch=batch,
            channels=channels,
            rows=Axis(in_rows, out_rows, taps[0], stride[0], dilation[0], before[0]),
            columns=Axis(in_columns, out_columns, taps[1], stride[1], dilation[1], before[1]),
            input_strides=lift(view.strides, 0),
            output_strides=lift(output.strides, 0),
            terms=_terms(weight.numpy().reshape(channels, *taps)),
            zero_point=call.x_zero_point,
            requantize=requantize_of(call, request, target),
            epilogue=epilogue_of(request, lambda other: lift(other.strides, 0)),
        )
        macs = batch * channels * problem.rows.macs() * problem.columns.macs()
        tensors = (weight, request.constants[3], *([request.constants[2]] if 2 in request.constants else []))
        shares = tuple(range(1, 1 + len(request.operands)))
        return Match(problem, (view,), request.outputs, request.operands, tensors, macs, shares)

    def knobs(self, problem: QuantizedDepthwise, target: Target) -> Sequence[QuantizedDepthwiseKnob]:
        width, taps, lanes = problem.columns.output_size, problem.columns.kernel, target.lanes(16)
        found = []
        for vectors in (1, 2):
            if vectors > 1 and lanes >= problem.channels:
                break
            # Sums in int32 take two registers each and one more for the products of a row of taps.
            each = 1 if problem.whole else 3
            most = min(width, max(1, (target.vector_registers - 2 - min(taps, 5)) // (each * vectors)))
            found += [QuantizedDepthwiseKnob(lanes, pixels, vectors) for pixels in range(1, 1 + most)]
        return sorted(found, key=lambda knob: self.estimate(problem, knob, target))

    def pack(
        self, problem: QuantizedDepthwise, knob: QuantizedDepthwiseKnob, tensors: Sequence[torch.Tensor]
    ) -> tuple[np.ndarray, ...]:
        weight, scale, *rest = tensors
        taps = weight.numpy().reshape(problem.channels, problem.rows.kernel, -1).transpose(1, 2, 0)
        lines = problem.zero_point * taps.astype(np.int64).sum(axis=1)
        (rows,) = problem.rows.phases()
        inside = np.stack([lines[rows.valid(row)].sum(axis=0) for row in problem.starts])
        start = wrap_int32(start_of(rest, problem.channels, problem.requantize) - inside)
        return np.ascontiguousarray(taps), start, np.ascontiguousarray(scale.numpy())

    def units(self, problem: QuantizedDepthwise, knob: QuantizedDepthwiseKnob) -> int:
        return problem.batch * problem.rows.output_size

    def estimate(self, problem: QuantizedDepthwise, knob: QuantizedDepthwiseKnob, target: Target) -> float:
        rate = max(1.0, target.fma_per_cycle / target.lanes())
        x86 = target.architecture == "x86_64"
        ports = 2 * rate if x86 else 2.0
        (phase,) = problem.columns.phases()
        taps, cycles = problem.columns.kernel, 0.0
        for tile in phase.tiles(knob.pixels):
            inputs = len(phase.readers(tile))
            multiplies = tile.width * taps
            sums = tile.width * taps if x86 else 0
            widen = 0 if problem.whole else 4 * tile.width * -(-taps // problem.terms)
            loads = inputs + taps
            work = max(multiplies / rate, (multiplies + sums + widen + loads) / ports, 1.0 * loads)
            # Starting and ending a tile's loop over rows takes time whatever its size.
            cycles += tile.repeats * (problem.rows.kernel * work + 12) * knob.vectors
        blocks = -(-problem.channels // (knob.lanes * knob.vectors))
        elements = problem.batch * problem.channels * problem.rows.output_size * problem.columns.output_size
        extra = epilogue_cycles(problem.epilogue, elements, target)
        return cycles * blocks * problem.batch * problem.rows.output_size + extra

    def emit(self, problem: QuantizedDepthwise, knob: QuantizedDepthwiseKnob, target: Target) -> Any:
        operands = [operand.dtype for operand in problem.epilogue.operands]
        dtypes = ["int8", "int8", "int32", "float32", *operands, problem.epilogue.dtype]
        return kernel(
            target, dtypes, lambda memories, begin, end: _Emitter(problem, knob, target, memories).run(begin, end)
        )


def _terms(weight: np.ndarray) -> int:
    """Return how many taps of (channels, kernel rows, kernel columns) add up in int16, whatever the inputs are."""
    magnitudes = np.abs(weight.astype(np.int64))
    if 128 * magnitudes.sum(axis=(1, 2)).max() < 2**15:
        return int(np.prod(weight.shape[1:]))
    taps = weight.shape[2]
    for terms in range(taps, 1, -1):
        sums = [magnitudes[:, :, first : first + terms].sum(axis=2).max() for first in range(0, taps, terms)]
        if 128 * max(sums) < 2**15:
            return terms
    return 1


class _Emitter:
    """Writes the loops of one depthwise convolution."""

    def __init__(
        self, problem: QuantizedDepthwise, knob: QuantizedDepthwiseKnob, target: Target, memories: list[Memory]
    ) -> None:
        self.problem, self.knob, self.target = problem, knob, target
        self.channels = Columns(problem.channels, knob.lanes, knob.vectors, exact=True)
        rest = iter(memories)
        self.x, self.w, self.bias, self.scale = (next(rest) for _ in range(4))
        self.operands = [next(rest) for _ in problem.epilogue.operands]
        self.y = next(rest)

    def run(self, begin: Any, end: Any) -> None:
        """One unit is one output row; its tiles go over all channels before the next columns."""
        (rows,) = self.problem.rows.phases()
        (columns,) = self.problem.columns.phases()
        with T.serial(begin, end) as unit:
            n, row = split(unit, (self.problem.batch, self.problem.rows.output_size))
            bounds = rows.bounds(row)
            for tile in columns.tiles(self.knob.pixels):
                with loop(0, tile.repeats) as repeat:
                    start = tile.start + repeat * tile.width
                    for tail in self.channels.kinds():
                        with loop(0, 1 if tail else self.channels.full) as index:
                            first = T.bind(((self.channels.full if tail else 0) + index) * self.channels.block)
                            at = 0
                            for width in self.channels.widths(tail):
                                self._tile(n, row, rows, bounds, columns, tile, start, first + at, width)
                                at += width

    def _tile(
        self,
        n: Index,
        row: Index,
        rows: Phase,
        bounds: tuple[Index, Index],
        columns: Phase,
        tile: Tile,
        start: Index,
        channel: Index,
        lanes: int,
    ) -> None:
        problem, taps = self.problem, columns.taps.count
        dtype, wide = ("int16" if problem.whole else "int32"), lane_dtype("int32", lanes)
        sums = Registers(tile.width, lanes, dtype)
        bias = self._bias(row, channel, lanes)
        for p in range(tile.width):
            sums[p] = splat(0, "int16", lanes) if problem.whole else bias
        batch_stride, row_stride, column_stride, _ = problem.input_strides
        first = start * columns.input_step + columns.taps.first_offset
        corner = T.bind(address((n,), (batch_stride,)) + channel + first * column_stride)
        with loop(*bounds) as i:
            line = T.bind(corner + (row * rows.input_step + rows.taps.offset(i)) * row_stride)
            at = T.bind(rows.taps.tap(i) * (taps * problem.channels) + channel)
            weights = [_int16(load(self.w, at + j * problem.channels, lanes), lanes) for j in range(taps)]
            inputs = {
                place: _int16(load(self.x, line + place * column_stride, lanes), lanes)
                for place in columns.readers(tile)
            }
            for p in range(tile.width):
                products = [self._product(inputs, weights, columns, tile, p, j, lanes) for j in range(taps)]
                terms = taps if problem.whole else problem.terms
                for group in range(0, taps, terms):
                    present = [product for product in products[group : group + terms] if product is not None]
                    if present:
                        total = present[0]
                        for product in present[1:]:
                            total = total + product
                        sums[p] = sums[p] + (total if problem.whole else T.cast(total, wide))
        factor = T.bind(load(self.scale, channel, lanes))
        for p in range(tile.width):
            place = (n, row, columns.output(start + p), channel)

            def read(operand: int, lanes: int, place: tuple[Index, ...] = place) -> Vector:
                strides = problem.epilogue.operands[operand].strides
                return load(self.operands[operand], address(place, strides), lanes, strides[-1])

            total = bias + T.cast(sums[p], wide) if problem.whole else sums[p]
            value = evaluate(
                problem.epilogue.expression, lanes, convert(total, factor, problem.requantize, lanes, self.target), read
            )
            store(self.y, address(place, problem.output_strides), value, lanes)

    def _bias(self, row: Index, channel: Index, lanes: int) -> Vector:
        """Return the sums that pixels of this row start from: the bias, less the zero points of what they read."""
        (rows,), several = self.problem.rows.phases(), len(self.problem.starts) > 1
        section = rows.section(row) * self.problem.channels if several else 0
        return T.bind(load(self.bias, section + channel, lanes))

    def _product(
        self,
        inputs: dict[int, Vector],
        weights: Sequence[Vector],
        columns: Phase,
        tile: Tile,
        p: int,
        j: int,
        lanes: int,
    ) -> Vector | None:
        """Return the product of output p's tap j; a padded input is the zero point."""
        if p in tile.served(j):
            return inputs[p * columns.input_step + j * columns.taps.offset_step] * weights[j]
        if self.problem.zero_point == 0:
            return None
        return splat(self.problem.zero_point, "int16", lanes) * weights[j]


def _int16(vector: Vector, lanes: int) -> Vector:
    return T.bind(T.cast(vector, lane_dtype("int16", lanes)))
