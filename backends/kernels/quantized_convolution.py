"""Integer convolution: plain, grouped, dilated, strided, one- and two-dimensional; exact to `prunus::qconv`.

Output pixels by output channels are held in registers while taps and input channels pass by, four channels at a time.
Where a kernel row reads neighbouring pixels of few channels, the row is one run of bytes. Input lines are read from a
copy with the zero point around it (`integer_lines`). Kernel rows above and below the input are left out, and what they
would add is in what the sums of an output row start from; if those would take many bytes beside the weights, lines of
the zero point are read instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.fx import Node

from prunus.backends.kernels import integer_dot
from prunus.backends.kernels.convolution import lift
from prunus.backends.kernels.emit import (
    Index,
    Memory,
    address,
    kernel,
    load,
    loop,
    split,
    when,
)
from prunus.backends.kernels.expanded import Expanded, bytes_at_hand
from prunus.backends.kernels.family import Defaults, Epilogue, Match, No, Request, epilogue_of
from prunus.backends.kernels.integer_dot import WORD
from prunus.backends.kernels.integer_lines import Lines
from prunus.backends.kernels.integer_tile import (
    IntegerTile,
    Run,
    pack_weights,
    pairs,
    pixels_that_fit,
    start_of,
    tile_bytes,
    tile_counts,
    tile_cycles,
    tiles,
    wrap_int32,
)
from prunus.backends.kernels.integer_weights import convolution_words, folds
from prunus.backends.kernels.ranking import ranked
from prunus.backends.kernels.requantize import Requantize, requantize_of
from prunus.backends.kernels.tiling import Columns, epilogue_cycles
from prunus.backends.kernels.tir import T
from prunus.backends.kernels.window import Axis
from prunus.backends.plan.layout import DimOrder, channels_last
from prunus.backends.plan.program import View
from prunus.passes.arguments import arguments
from prunus.passes.graph import is_op
from prunus.passes.operators.quantized import sides
from prunus.targets import Target

# Of x86: starting a loop over a run and leaving it, for a tile of any size.
_RUN_CYCLES = 4.0
_SUM_BYTES = 4
# The most bytes of further starts for each byte of weights. Only layers of few channels have more, first ones as a
# rule, where images are large and a few lines of the zero point cost little.
_MOST_STARTS = 0.25
_OPERATORS = (torch.ops.prunus.qconv.default, torch.ops.prunus.qconv_dequant.default)


@dataclass(frozen=True)
class QuantizedConvolution:
    """Problem: everything the code depends on. Strides are (batch, row, column, channel), in elements.

    Attributes:
        dot, terms: the instructions, and words that they add up before widening.
        folded: a kernel row is one run of bytes, its taps and channels together.
        paired: weights are stored two a byte, and become bytes in scratch before they are used.
        padding: what a padded element counts as: the input's zero point, plus 128 where the instruction flips signs.
    """

    batch: int
    groups: int
    in_channels: int
    out_channels: int
    rows: Axis
    columns: Axis
    input_strides: tuple[int, int, int, int]
    output_strides: tuple[int, int, int, int]
    dot: str
    terms: int
    folded: bool
    paired: bool
    padding: int
    zero_point: int
    requantize: Requantize | None
    epilogue: Epilogue

    @property
    def run(self) -> Run:
        return Run(self.in_channels * (self.columns.kernel if self.folded else 1))

    @property
    def runs(self) -> int:
        """Runs of one kernel row."""
        return 1 if self.folded else self.columns.kernel

    @property
    def leaves_out(self) -> bool:
        """Whether kernel rows outside the input are left out."""
        (rows,) = self.rows.phases()
        weights = self.rows.kernel * self.columns.kernel * self.in_channels
        return self.padding == 0 or (len(rows.sections()) - 1) * _SUM_BYTES <= _MOST_STARTS * weights

    @property
    def starts(self) -> tuple[int, ...]:
        """One output row of each section whose sums start from the same numbers."""
        (rows,) = self.rows.phases()
        return rows.sections() if self.padding != 0 and self.leaves_out else (0,)

    def inside(self, row: int) -> list[int]:
        """Return the kernel rows that an output row reads."""
        (rows,) = self.rows.phases()
        return rows.valid(row) if self.leaves_out else list(range(self.rows.kernel))


@dataclass(frozen=True)
class QuantizedConvolutionKnob:
    """Way of computing: `pixels` by `vectors` registers of `lanes`; `tail_pixels` for the last block of channels.

    Attributes:
        segment: output columns whose input lines are copied at a time; all of them, or a multiple of both tiles.
        weights_outer: the loop over blocks of channels is outside that over rows, for weights that do not fit the
            cache.
    """

    lanes: int
    pixels: int
    vectors: int
    tail_pixels: int
    segment: int
    weights_outer: bool


class IntegerConvolution(Defaults):
    """The family; see the module's docstring."""

    name = "quantized_convolution"

    def claims(self, anchor: Node) -> bool:
        return is_op(anchor, *_OPERATORS)

    def wants(self, anchor: Node, position: int, view: View) -> DimOrder | None:
        return None if view.strides[1] == 1 or view.shape[1] == 1 else channels_last(len(view.shape))

    def order(self, anchor: Node, inputs: dict[int, View], rank: int) -> DimOrder:
        return channels_last(rank)

    def match(self, request: Request, target: Target) -> Match | No:
        anchor, output = request.anchor, request.output
        assert anchor is not None
        missing = [name for name, place in (("weight", 1), ("scale", 3)) if place not in request.constants]
        if missing or 0 not in request.inputs:
            return No(f"its {' and '.join(missing) or 'input'} must {'' if missing else 'not '}be constant")
        if output.strides[1] != 1 and output.shape[1] != 1:
            return No("its output channels are not neighbours in memory")
        call, view, weight = arguments(anchor), request.inputs[0], request.constants[1]
        if view.strides[1] != 1 and view.shape[1] != 1:
            return No("its input channels are not neighbours in memory")
        batch, in_rows, in_columns, channels = lift(view.shape, 1)
        _, out_rows, out_columns, out_channels = lift(output.shape, 1)
        dims = weight.dim() - 2

        def lifted(values: Sequence[int], filler: int) -> tuple[int, int]:
            return (filler, values[0]) if dims == 1 else (values[0], values[1])

        taps, stride = lifted(weight.shape[2:], 1), lifted(call.stride, 1)
        dilation = lifted(call.dilation, 1)
        before = lifted([front for front, _ in sides(call.padding, dims)], 0)
        strides = lift(view.strides, 0)
        in_channels = channels // call.groups
        neighbours = in_channels == channels == strides[2] and dilation[1] == 1
        folded = neighbours and folds(in_channels, taps[1])
        dot, terms = integer_dot.choose(target, convolution_words(weight, call.groups, folded=folded))
        run = Run(in_channels * (taps[1] if folded else 1))
        problem = QuantizedConvolution(
            batch=batch,
            groups=call.groups,
            in_channels=in_channels,
            out_channels=out_channels // call.groups,
            rows=Axis(in_rows, out_rows, taps[0], stride[0], dilation[0], before[0]),
            columns=Axis(in_columns, out_columns, taps[1], stride[1], dilation[1], before[1]),
            input_strides=(*strides[:3], 1),
            output_strides=(*lift(output.strides, 0)[:3], 1),
            dot=dot.name,
            terms=terms,
            folded=folded,
            paired=pairs(weight.numpy(), taps[0] * (1 if folded else taps[1]) * run.words),
            padding=call.x_zero_point + (128 if dot.flips else 0),
            zero_point=call.x_zero_point,
            requantize=requantize_of(call, request, target),
            epilogue=epilogue_of(request, lambda other: lift(other.strides, 0)),
        )
        macs = batch * problem.rows.macs() * problem.columns.macs() * in_channels * out_channels
        tensors = (weight, request.constants[3], *([request.constants[2]] if 2 in request.constants else []))
        shares = tuple(range(1, 1 + len(request.operands)))
        return Match(problem, (view,), request.outputs, request.operands, tensors, macs, shares)

    def knobs(self, problem: QuantizedConvolution, target: Target) -> Sequence[QuantizedConvolutionKnob]:
        dot, lanes = integer_dot.by_name(problem.dot), target.lanes()
        width = problem.columns.output_size
        weight_bytes = problem.in_channels * problem.out_channels * problem.rows.kernel * problem.columns.kernel
        outer = weight_bytes > bytes_at_hand(problem.paired, target)
        # Lines share the first cache with weights; longer ones are cut.
        line_bytes = problem.rows.kernel * problem.in_channels * problem.columns.stride
        fitting = target.cache.l1_bytes // line_bytes
        found: dict[QuantizedConvolutionKnob, None] = {}
        for pixels, vectors in tiles(dot, problem.terms, problem.out_channels, width, target):
            columns = Columns(problem.out_channels, lanes, vectors)
            widest = min(width, pixels_that_fit(dot, max(1, len(columns.widths(tail=True))), target))
            if width > fitting:
                segment, tails = min(width, max(1, fitting // pixels) * pixels), {pixels}
            else:
                segment, tails = width, {pixels, widest} if len(columns.kinds()) > 1 else {pixels}
            for tail_pixels in sorted(tails):
                found[QuantizedConvolutionKnob(lanes, pixels, vectors, tail_pixels, segment, outer)] = None
        return ranked(
            found, lambda knob: self.estimate(problem, knob, target), lambda knob: _bytes(problem, knob, target)
        )

    def pack(
        self, problem: QuantizedConvolution, knob: QuantizedConvolutionKnob, tensors: Sequence[torch.Tensor]
    ) -> tuple[np.ndarray, ...]:
        weight, scale, *rest = tensors
        columns, groups = _columns(problem, knob), problem.groups
        words = convolution_words(weight, groups, folded=problem.folded)
        flat = words.reshape(groups, -1, *words.shape[-2:])
        dot = integer_dot.by_name(problem.dot)
        packed = np.concatenate([pack_weights(group, columns, dot, problem.run) for group in flat])
        if problem.paired:
            packed = _expanded(problem, knob).pack(packed)
        lines = problem.padding * words.astype(np.int64).sum(axis=(2, 3, 5))  # (groups, kernel rows, outputs)
        inside = np.stack([lines[:, problem.inside(row)].sum(axis=1) for row in problem.starts], axis=1)
        start = start_of(rest, len(weight), problem.requantize).reshape(groups, 1, -1) - inside
        return packed, columns.pack(wrap_int32(start)), columns.pack(scale.numpy().reshape(groups, 1, -1))

    def units(self, problem: QuantizedConvolution, knob: QuantizedConvolutionKnob) -> int:
        rows = problem.batch * problem.rows.output_size * _lines(problem, knob).segments
        return rows * problem.groups * _columns(problem, knob).blocks

    def scratch_bytes(self, problem: QuantizedConvolution, knob: QuantizedConvolutionKnob) -> int:
        return _expanded(problem, knob).scratch_bytes if problem.paired else _lines(problem, knob).size_bytes

    def estimate(self, problem: QuantizedConvolution, knob: QuantizedConvolutionKnob, target: Target) -> float:
        dot, columns, cycles = integer_dot.by_name(problem.dot), _columns(problem, knob), 0.0
        taps = problem.rows.macs() / problem.rows.output_size if problem.leaves_out else problem.rows.kernel
        runs = problem.runs * taps
        start = runs * _RUN_CYCLES if target.architecture == "x86_64" else 0.0
        for tail in columns.kinds():
            widths = columns.widths(tail)
            for pixels, count in tile_counts(problem.columns.output_size, knob.tail_pixels if tail else knob.pixels):
                one = tile_cycles(dot, problem.terms, problem.run, runs, pixels, widths, target)
                cycles += count * (one + start) * (1 if tail else columns.full)
        elements = problem.batch * problem.groups * problem.rows.output_size * problem.out_channels
        extra = epilogue_cycles(problem.epilogue, elements * problem.columns.output_size, target)
        once = _expanded(problem, knob).cycles(target) if problem.paired else 0.0
        return once + cycles * problem.rows.output_size * problem.groups * problem.batch + extra

    def emit(self, problem: QuantizedConvolution, knob: QuantizedConvolutionKnob, target: Target) -> Any:
        operands = [operand.dtype for operand in problem.epilogue.operands]
        dtypes = ["int8", "int8", "int32", "float32", *operands, problem.epilogue.dtype, "int8"]

        def body(memories: list[Memory], begin: Any, end: Any) -> None:
            _Emitter(problem, knob, target, memories).run(begin, end)

        return kernel(target, dtypes, body)


def _columns(problem: QuantizedConvolution, knob: QuantizedConvolutionKnob) -> Columns:
    return Columns(problem.out_channels, knob.lanes, knob.vectors)


def _expanded(problem: QuantizedConvolution, knob: QuantizedConvolutionKnob) -> Expanded:
    words = problem.rows.kernel * problem.runs * problem.run.words
    lines = _lines(problem, knob).size_bytes
    return Expanded(_columns(problem, knob), words, problem.groups, knob.weights_outer, lines)


def _bytes(problem: QuantizedConvolution, knob: QuantizedConvolutionKnob, target: Target) -> float:
    """Estimate the bytes of code, by the tiles that it is made of, and of weights."""
    columns, width = _columns(problem, knob), problem.columns.output_size
    dot, narrows = integer_dot.by_name(problem.dot), problem.requantize is not None
    lengths = {min(width, knob.segment), width - (_lines(problem, knob).segments - 1) * knob.segment}
    words = problem.rows.kernel * problem.runs * problem.run.words
    weights = words * WORD * problem.out_channels * problem.groups / (2 if problem.paired else 1)
    return weights + sum(
        tile_bytes(
            dot, problem.terms, problem.run, pixels, columns.widths(tail), columns.valid(tail), target, narrows=narrows
        )
        for tail in columns.kinds()
        for length in lengths
        for pixels, _ in tile_counts(length, knob.tail_pixels if tail else knob.pixels)
    )


def _lines(problem: QuantizedConvolution, knob: QuantizedConvolutionKnob) -> Lines:
    _, row_stride, column_stride, _ = problem.input_strides
    return Lines(
        problem.rows, problem.columns, problem.in_channels, row_stride, column_stride, knob.segment,
        problem.zero_point, integer_dot.by_name(problem.dot).flips, not problem.leaves_out,
    )  # fmt: skip


class _Emitter:
    """Writes the loops of one convolution."""

    def __init__(
        self,
        problem: QuantizedConvolution,
        knob: QuantizedConvolutionKnob,
        target: Target,
        memories: list[Memory],
    ) -> None:
        self.problem, self.knob = problem, knob
        self.dot, self.channels = integer_dot.by_name(problem.dot), _columns(problem, knob)
        self.target = target
        self.copies = _lines(problem, knob)
        rest = iter(memories)
        self.x, self.w, self.bias, self.scale = (next(rest) for _ in range(4))
        self.operands = [next(rest) for _ in problem.epilogue.operands]
        self.y, self.scratch = rest
        self.expanded = _expanded(problem, knob)
        self.weights = self.scratch if problem.paired else self.w

    def run(self, begin: Any, end: Any) -> None:
        """One unit is a segment of one output row, of one block of channels."""
        problem, blocks, segments = self.problem, self.channels.blocks, self.copies.segments
        batch, groups, out_rows = problem.batch, problem.groups, problem.rows.output_size
        (rows,) = problem.rows.phases()
        if problem.paired:
            self.expanded.expand_all(self.w, self.weights, self.target)
        with T.serial(begin, end) as unit:
            if self.knob.weights_outer:
                n, g, block, segment, row = split(unit, (batch, groups, blocks, segments, out_rows))
                changed, follows = True, T.And(row > 0, unit > begin)
            else:
                n, row, segment, g, block = split(unit, (batch, out_rows, segments, groups, blocks))
                changed = T.Or(block == 0, unit == begin) if blocks > 1 else True
                follows = T.And(row > 0, unit > begin) if groups == 1 else False
            bounds = rows.bounds(row) if problem.leaves_out else (0, problem.rows.kernel)
            with when(changed):
                place = T.bind(n * problem.input_strides[0] + g * problem.in_channels)
                self.copies.fill(self.x, self.scratch, place, row, segment, bounds, follows, self.target)
            kinds = self.channels.kinds()
            for tail in kinds:
                condition = block >= self.channels.full if tail else block < self.channels.full
                with when(True if len(kinds) == 1 else condition):
                    if problem.paired and self.knob.weights_outer:
                        with when(T.Or(T.And(segment == 0, row == 0), unit == begin)):
                            column = g * self.channels.padded + block * self.channels.block
                            self.expanded.expand_block(self.w, self.weights, column, self.target, tail=tail)
                    self._row(n, g, block, row, segment, bounds, tail)

    def _row(
        self, n: Index, g: Index, block: Index, row: Index, segment: Index, bounds: tuple[Index, Index], tail: bool
    ) -> None:
        bias = self._bias(g, block, row, self.channels.widths(tail))
        width, size, segments = self.problem.columns.output_size, self.copies.segment, self.copies.segments
        pixels = self.knob.tail_pixels if tail else self.knob.pixels
        last = width - (segments - 1) * size

        def tiles(columns: int) -> None:
            start = 0
            for wide, count in tile_counts(columns, pixels):
                with loop(0, count) as tile:
                    first = T.bind(start + tile * wide)
                    self._tile(n, g, block, row, segment, bounds, first, wide, bias, tail)
                start += count * wide

        if segments == 1 or last == size:
            tiles(size)
            return
        with T.If(segment < segments - 1):
            with T.Then():
                tiles(size)
            with T.Else():
                tiles(last)

    def _bias(self, g: Index, block: Index, row: Index, widths: Sequence[int]) -> list[Any]:
        """Return the sums that pixels of this row start from: the bias, less the zero points of what they read."""
        (rows,), count = self.problem.rows.phases(), len(self.problem.starts)
        at = (g * self.channels.padded + block * self.channels.block) * count
        first = T.bind(at + (rows.section(row) * sum(widths) if count > 1 else 0))
        return [T.bind(load(self.bias, first + sum(widths[:v]), width)) for v, width in enumerate(widths)]

    def _tile(
        self, n: Index, g: Index, block: Index, row: Index, segment: Index, bounds: tuple[Index, Index], first: Index,
        pixels: int, bias: Sequence[Any], tail: bool,
    ) -> None:  # fmt: skip
        """Compute `pixels` output columns from the segment's column `first` on."""
        problem, widths = self.problem, self.channels.widths(tail)
        (rows,) = problem.rows.phases()
        sums = IntegerTile(self.dot, problem.terms, problem.run, widths, pixels)
        sums.fill(bias)
        row_bytes = problem.runs * problem.run.words * sums.word_bytes
        column = g * self.channels.padded + block * self.channels.block
        stored = column * (problem.rows.kernel * problem.runs * problem.run.words * WORD)
        base = T.bind(self.expanded.place(column) if problem.paired else stored)
        step, apart = problem.columns.stride * problem.in_channels, problem.columns.dilation * problem.in_channels
        with loop(*bounds) as i:
            line = T.bind(self.copies.slot(row * rows.input_step + rows.taps.offset(i), i) + first * step)
            at = T.bind(base + i * row_bytes)
            with loop(0, problem.runs) as j:
                places = [line + j * apart + p * step for p in range(pixels)]
                sums.accumulate(self.scratch, places, self.weights, at + j * (problem.run.words * sums.word_bytes))
        channel = g * problem.out_channels + block * self.channels.block
        start = segment * self.copies.segment + first

        def place(strides: Sequence[int], p: int, v: int) -> Index:
            return address((n, row, start + p, channel + v), strides)

        sums.finish(
            self.scale, column, self.channels.valid(tail),
            problem.requantize, problem.epilogue, self.operands, self.y, place, problem.output_strides, self.target,
        )  # fmt: skip
