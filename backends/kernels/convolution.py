"""Direct convolution: plain, grouped, dilated, strided, transposed, one- and two-dimensional.

Output pixels by output channels are held in registers while the taps and the input channels pass by. The input may
lie in memory in any order (a first layer reads the user's NCHW as it is); output channels are neighbours. Padding
costs nothing: border tiles leave out the taps that fall outside.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.fx import Node

from prunus.backends.kernels import winograd
from prunus.backends.kernels.emit import Memory, Registers, address, kernel, load, loop, split, when
from prunus.backends.kernels.family import Defaults, Epilogue, Match, No, Request, epilogue_of, unlike_a_layer
from prunus.backends.kernels.tiling import Columns, epilogue_cycles, finish, rows_that_fit, tile_cycles, with_weights
from prunus.backends.kernels.tir import T
from prunus.backends.kernels.vector_math import splat
from prunus.backends.kernels.window import Axis, Phase, Tile
from prunus.backends.kernels.winograd import WinogradKnob
from prunus.backends.plan.layout import DimOrder, channels_last
from prunus.backends.plan.program import View
from prunus.passes.arguments import arguments
from prunus.passes.graph import aten, is_op
from prunus.targets import Target

# Up to this many input channels the innermost loop is unrolled.
_FEW_CHANNELS = 4


@dataclass(frozen=True)
class Convolution:
    """Problem: everything the code depends on. Strides are (batch, row, column, channel), in elements."""

    batch: int
    groups: int
    in_channels: int
    out_channels: int
    rows: Axis
    columns: Axis
    input_strides: tuple[int, int, int, int]
    output_strides: tuple[int, int, int, int]
    bias: bool
    epilogue: Epilogue


@dataclass(frozen=True)
class ConvolutionKnob:
    """Way of computing: `pixels` by `vectors` registers of `lanes`; `tail_pixels` for the last block of channels.

    `weights_outer`: the loop over blocks of channels is outside that over rows, for weights that do not fit the cache.
    """

    lanes: int
    pixels: int
    vectors: int
    tail_pixels: int
    weights_outer: bool


@dataclass(frozen=True)
class ConvolutionArguments:
    """Arguments of any ATen convolution operator, spatial dimensions lifted to two."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    transposed: bool


_PLAIN = (aten.conv1d.default, aten.conv2d.default)
_TRANSPOSED = (aten.conv_transpose1d.default, aten.conv_transpose2d.input)


def convolution_arguments(node: Node) -> ConvolutionArguments:
    """Read stride, padding, dilation and groups of conv1d, conv2d and their transposed kin."""
    call = arguments(node)
    one_dimension = is_op(node, aten.conv1d.default, aten.conv_transpose1d.default)

    def pair(given: Any, default: int) -> tuple[int, int]:
        sizes = [given] if isinstance(given, int) else [int(size) for size in given]
        return (default, sizes[0]) if one_dimension else (sizes[0], sizes[-1])

    stride, padding, dilation = pair(call.stride, 1), pair(call.padding, 0), pair(call.dilation, 1)
    return ConvolutionArguments(stride, padding, dilation, call.groups, is_op(node, *_TRANSPOSED))


def lift(values: Sequence[int], filler: int) -> tuple[int, int, int, int]:
    """Return (batch, row, column, channel) of values over (N, C, W) or (N, C, H, W)."""
    if len(values) == 3:
        return (values[0], filler, values[2], values[1])
    return (values[0], values[2], values[3], values[1])


class DirectConvolution(Defaults):
    """The family; see the module's docstring."""

    name = "convolution"

    def claims(self, anchor: Node) -> bool:
        return is_op(anchor, *_PLAIN, *_TRANSPOSED)

    def wants(self, anchor: Node, position: int, view: View) -> DimOrder | None:
        if position != 0:
            return None
        few = view.shape[1] // convolution_arguments(anchor).groups <= _FEW_CHANNELS
        return None if few or view.strides[1] == 1 else channels_last(len(view.shape))

    def order(self, anchor: Node, inputs: dict[int, View], rank: int) -> DimOrder:
        return channels_last(rank)

    def match(self, request: Request, target: Target) -> Match | No:
        anchor, output = request.anchor, request.output
        assert anchor is not None
        refusal = unlike_a_layer(request)
        if refusal is not None:
            return refusal
        if output.strides[1] != 1 and output.shape[1] != 1:
            return No("its output channels are not neighbours in memory")
        weight, arguments = request.constants[1], convolution_arguments(anchor)
        view = request.inputs[0]
        batch, in_rows, in_columns, channels = lift(view.shape, 1)
        _, out_rows, out_columns, out_channels = lift(output.shape, 1)
        kernel_rows, kernel_columns = (1, weight.shape[2]) if weight.dim() == 3 else tuple(weight.shape[2:])
        before = [pad for pad, _ in request.padding][-2:]
        before = [0] * (2 - len(before)) + before

        def axis(dim: int, size_in: int, size_out: int, taps: int) -> Axis:
            padding = arguments.padding[dim] + before[dim]
            return Axis(
                size_in, size_out, taps, arguments.stride[dim], arguments.dilation[dim], padding, arguments.transposed
            )

        def in_loop_order(other: View) -> tuple[int, ...]:
            return lift(other.strides, 0)

        problem = Convolution(
            batch=batch,
            groups=arguments.groups,
            in_channels=channels // arguments.groups,
            out_channels=out_channels // arguments.groups,
            rows=axis(0, in_rows, out_rows, kernel_rows),
            columns=axis(1, in_columns, out_columns, kernel_columns),
            input_strides=lift(view.strides, 0),
            output_strides=(*lift(output.strides, 0)[:3], 1),
            bias=2 in request.constants,
            epilogue=epilogue_of(request, in_loop_order),
        )
        macs = batch * problem.rows.macs() * problem.columns.macs() * problem.in_channels * out_channels
        tensors = (weight, *([request.constants[2]] if problem.bias else []))
        return Match(
            problem,
            (view,),
            request.outputs,
            request.operands,
            tensors,
            macs,
            tuple(range(1, 1 + len(request.operands))),
        )

    def knobs(self, problem: Convolution, target: Target) -> Sequence[ConvolutionKnob | WinogradKnob]:
        # Winograd's way comes last: it takes more bytes and another rounding, so nobody gets it without a trial.
        return [*self._direct_knobs(problem, target), *winograd.knobs(problem, target)]

    def _direct_knobs(self, problem: Convolution, target: Target) -> list[ConvolutionKnob]:
        lanes = target.lanes()
        width = max(phase.outputs for phase in problem.columns.phases())
        outer = self._weights_outer(problem, target)
        found: dict[ConvolutionKnob, None] = {}
        for vectors in range(1, 1 + min(8, -(-problem.out_channels // lanes))):
            tail = Columns(problem.out_channels, lanes, vectors).widths(tail=True)
            tail_pixels = min(rows_that_fit(max(1, len(tail)), target), width)
            most = min(rows_that_fit(vectors, target), width)
            for pixels in {most, *(fewer for fewer in (4, 6, 8, 12) if fewer < most)}:
                found[ConvolutionKnob(lanes, pixels, vectors, tail_pixels, outer)] = None
        return sorted(found, key=lambda knob: self.estimate(problem, knob, target))

    def _weights_outer(self, problem: Convolution, target: Target) -> bool:
        taps = problem.rows.kernel * problem.columns.kernel
        return 4 * problem.in_channels * problem.out_channels * taps > target.cache.l2_bytes // 2

    def pack(
        self, problem: Convolution, knob: ConvolutionKnob | WinogradKnob, tensors: Sequence[torch.Tensor]
    ) -> tuple[np.ndarray, ...]:
        weight = tensors[0].detach().numpy()
        if weight.ndim == 3:
            weight = weight[:, :, None, :]
        columns = _columns(problem, knob)
        packed = (
            winograd.pack(problem, knob, weight) if isinstance(knob, WinogradKnob) else _pack(problem, columns, weight)
        )
        if not problem.bias:
            return (packed,)
        bias = tensors[1].detach().numpy().reshape(problem.groups, 1, -1)
        return packed, columns.pack(bias)

    def units(self, problem: Convolution, knob: ConvolutionKnob | WinogradKnob) -> int:
        if isinstance(knob, WinogradKnob):
            return winograd.units(problem, knob)
        return problem.batch * problem.groups * _columns(problem, knob).blocks * problem.rows.output_size

    def scratch_bytes(self, problem: Convolution, knob: ConvolutionKnob | WinogradKnob) -> int:
        return winograd.scratch_bytes(problem, knob) if isinstance(knob, WinogradKnob) else 0

    def estimate(self, problem: Convolution, knob: ConvolutionKnob | WinogradKnob, target: Target) -> float:
        if isinstance(knob, WinogradKnob):
            return winograd.estimate(problem, knob, target)
        columns, cycles = _columns(problem, knob), 0.0
        rows = problem.rows.macs()
        inner = rows * problem.in_channels
        for tail in columns.kinds():
            widths, pixels = columns.widths(tail), knob.tail_pixels if tail else knob.pixels
            step, visits = 0.0, 0
            for phase in problem.columns.phases():
                for tile in phase.tiles(pixels):
                    visits += tile.repeats
                    step += tile.repeats * phase.taps.count * tile_cycles(tile.width, widths, target)
                    # Filling and storing the registers, for each tile once.
                    fill = 2 * tile.width * len(widths) / max(1, inner / problem.rows.output_size)
                    step += tile.repeats * fill
            line = 4 * sum(widths) * problem.columns.kernel * problem.in_channels
            block = with_weights(step * inner, line * rows * visits, line * problem.rows.kernel, target)
            cycles += block * (1 if tail else columns.full)
        total = cycles * problem.groups * problem.batch
        elements = (
            problem.batch
            * problem.groups
            * problem.out_channels
            * problem.rows.output_size
            * problem.columns.output_size
        )
        return total + epilogue_cycles(problem.epilogue, elements, target)

    def emit(self, problem: Convolution, knob: ConvolutionKnob | WinogradKnob, target: Target) -> Any:
        if isinstance(knob, WinogradKnob):
            return winograd.emit(problem, knob, target)
        dtypes = ["float32", "float32", *(["float32"] if problem.bias else [])]
        dtypes += [*(operand.dtype for operand in problem.epilogue.operands), problem.epilogue.dtype]

        def body(memories: list[Memory], begin: Any, end: Any) -> None:
            _Emitter(problem, knob, memories).run(begin, end)

        return kernel(target, dtypes, body)


def _columns(problem: Convolution, knob: ConvolutionKnob | WinogradKnob) -> Columns:
    return Columns(problem.out_channels, knob.lanes, knob.vectors)


def _pack(problem: Convolution, columns: Columns, weight: np.ndarray) -> np.ndarray:
    """Return weights as the direct kernel reads them: by groups, blocks of output channels, taps, input channels."""
    taps, shape = weight.shape[2:], (problem.groups, problem.in_channels, problem.out_channels)
    if problem.rows.transposed:  # (groups * in, out, kh, kw)
        rows = weight.reshape(*shape, *taps).transpose(0, 3, 4, 1, 2)
    else:  # (groups * out, in, kh, kw)
        rows = weight.reshape(shape[0], shape[2], shape[1], *taps).transpose(0, 3, 4, 2, 1)
    return columns.pack(rows.reshape(problem.groups, -1, problem.out_channels))


class _Emitter:
    """Writes the loops of one convolution."""

    def __init__(self, problem: Convolution, knob: ConvolutionKnob, memories: list[Memory]) -> None:
        self.problem, self.knob = problem, knob
        self.channels = _columns(problem, knob)
        self.x, self.w = memories[0], memories[1]
        self.b = memories[2] if problem.bias else None
        self.operands, self.y = memories[2 + problem.bias : -1], memories[-1]

    def run(self, begin: Any, end: Any) -> None:
        """One unit is one output row of one block of channels."""
        problem, blocks = self.problem, self.channels.blocks
        with T.serial(begin, end) as unit:
            if self.knob.weights_outer:
                n, g, block, row = split(unit, (problem.batch, problem.groups, blocks, problem.rows.output_size))
            else:
                n, row, g, block = split(unit, (problem.batch, problem.rows.output_size, problem.groups, blocks))
            kinds = self.channels.kinds()
            for tail in kinds:
                with when(
                    True if len(kinds) == 1 else block >= self.channels.full if tail else block < self.channels.full
                ):
                    self._row(n, g, block, row, tail)

    def _row(self, n: Any, g: Any, block: Any, row: Any, tail: bool) -> None:
        """Compute one output row: the phase of the row is known where the stride is not transposed."""
        phases = self.problem.rows.phases()
        for residue, rows in enumerate(phases):
            q = row if len(phases) == 1 else T.bind(row // len(phases))
            with when(True if len(phases) == 1 else row % len(phases) == residue):
                for columns in self.problem.columns.phases():
                    for tile in columns.tiles(self.knob.tail_pixels if tail else self.knob.pixels):
                        with loop(0, tile.repeats) as repeat:
                            self._tile(n, g, block, row, rows, q, columns, tile, repeat, tail)

    def _tile(
        self,
        n: Any,
        g: Any,
        block: Any,
        row: Any,
        rows: Phase,
        q: Any,
        columns: Phase,
        tile: Tile,
        repeat: Any,
        tail: bool,
    ) -> None:
        problem, widths = self.problem, self.channels.widths(tail)
        count, width = len(widths), sum(widths)
        sums = Registers(tile.width * count, widths * tile.width)
        starts = [sum(widths[:v]) for v in range(count)]
        for v in range(count):
            first = splat(0.0, "float32", widths[v])
            if self.b is not None:
                first = T.bind(
                    load(self.b, g * self.channels.padded + block * self.channels.block + starts[v], widths[v])
                )
            for p in range(tile.width):
                sums[p * count + v] = first
        start = tile.start + repeat * tile.width
        taps = problem.rows.kernel * problem.columns.kernel * problem.in_channels
        base = T.bind(g * (taps * self.channels.padded) + block * (taps * self.channels.block))
        batch_stride, row_stride, column_stride, channel_stride = problem.input_strides
        corner = T.bind(
            address((n, g * problem.in_channels), (batch_stride, channel_stride))
            + (start * columns.input_step + columns.taps.first_offset) * column_stride
        )
        low, high = rows.bounds(q)
        with loop(low, high) as i:
            line = T.bind(corner + (q * rows.input_step + rows.taps.offset(i)) * row_stride)
            tap_row = T.bind(base + rows.taps.tap(i) * (problem.columns.kernel * problem.in_channels * width))

            def step(j: Any, c: Any, served: Sequence[int]) -> None:
                at = tap_row + (columns.taps.tap(j) * problem.in_channels + c) * width
                weights = [T.bind(load(self.w, at + starts[v], widths[v])) for v in range(count)]
                place = line + j * (columns.taps.offset_step * column_stride) + c * channel_stride
                for p in served:
                    pixel = load(self.x, place + p * (columns.input_step * column_stride))
                    for v in range(count):
                        x = pixel if widths[v] == 1 else T.broadcast(pixel, widths[v])
                        kind = "float32" if widths[v] == 1 else f"float32x{widths[v]}"
                        old = sums[p * count + v]
                        sums[p * count + v] = T.call_llvm_pure_intrin(kind, "llvm.fmuladd", x, weights[v], old)

            def channels_loop(j: Any, served: Sequence[int]) -> None:
                if problem.in_channels <= _FEW_CHANNELS:
                    for c in range(problem.in_channels):
                        step(j, c, served)
                else:
                    with T.serial(0, problem.in_channels) as c:
                        step(j, c, served)

            if tile.masks:
                for j in range(columns.taps.count):
                    if tile.served(j):
                        channels_loop(j, tile.served(j))
            else:
                with loop(0, columns.taps.count) as j:
                    channels_loop(j, tile.served(0))
        self._store(sums, n, g, block, row, columns, tile, start, tail, starts)

    def _store(
        self, sums: Registers, n: Any, g: Any, block: Any, row: Any, columns: Phase, tile: Tile, start: Any, tail: bool,
        starts: Sequence[int],
    ) -> None:  # fmt: skip
        problem, widths = self.problem, self.channels.widths(tail)
        channel = g * problem.out_channels + block * self.channels.block
        last = self.channels.valid(tail)
        for p in range(tile.width):
            column = columns.output(start + p)
            for v, width in enumerate(widths):

                def place(strides: Sequence[int], lane: int, column: Any = column, v: int = v) -> Any:
                    return address((n, row, column, channel + (starts[v] + lane)), strides)

                valid = min(width, last - starts[v])
                index = p * len(widths) + v
                finish(
                    sums, index, valid, problem.epilogue, self.operands, self.y, place, problem.output_strides, width
                )
