"""Integer matrix products with constant weights: linear layers and pointwise convolutions, exact to `prunus::qlinear`.

Rows (pixels) by columns (output channels) are held in registers while the inner dimension passes by, four at a time.
Where the instruction wants unsigned numbers, a chunk of rows is copied first with signs flipped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from torch.fx import Node

from prunus.backends.kernels import integer_dot
from prunus.backends.kernels.emit import Index, Memory, address, kernel, load, loop, spans, split, store, when
from prunus.backends.kernels.expanded import Expanded, bytes_at_hand
from prunus.backends.kernels.family import Defaults, Epilogue, Match, No, OperandLayout, Request
from prunus.backends.kernels.integer_dot import WORD
from prunus.backends.kernels.integer_tile import (
    IntegerTile,
    Run,
    pack_weights,
    pairs,
    start_of,
    tile_bytes,
    tile_cycles,
    tiles,
    wrap_int32,
)
from prunus.backends.kernels.integer_weights import linear_words
from prunus.backends.kernels.loops import collapse
from prunus.backends.kernels.ranking import ranked
from prunus.backends.kernels.requantize import Requantize, requantize_of
from prunus.backends.kernels.tiling import Columns, epilogue_cycles
from prunus.backends.kernels.tir import T
from prunus.backends.kernels.vector_math import splat
from prunus.backends.plan.layout import DimOrder, channels_last
from prunus.backends.plan.program import View
from prunus.passes.arguments import arguments
from prunus.passes.graph import is_op, shape
from prunus.targets import Target

_CONVOLUTIONS = (torch.ops.prunus.qconv.default, torch.ops.prunus.qconv_dequant.default)
_LINEAR = (torch.ops.prunus.qlinear.default, torch.ops.prunus.qlinear_dequant.default)


@dataclass(frozen=True)
class QuantizedMatmul:
    """Problem: y[outer, m, n] = sum over k of (a[outer, m, k] - zero point) * w[k, n].

    Attributes:
        outer: sizes of loops over whole products.
        rows, inner, columns: m, k and n.
        left_strides, output_strides: over (*outer, m); inner and columns are neighbours in memory.
        dot, terms: the instructions, and words that they add up before widening.
        paired: weights are stored two a byte.
        padding: the input's zero point, plus 128 where the instruction flips signs.
        epilogue: operands' strides are over (*outer, m, n).
    """

    outer: tuple[int, ...]
    rows: int
    inner: int
    columns: int
    left_strides: tuple[int, ...]
    output_strides: tuple[int, ...]
    dot: str
    terms: int
    paired: bool
    padding: int
    requantize: Requantize | None
    epilogue: Epilogue


@dataclass(frozen=True)
class QuantizedMatmulKnob:
    """Way of computing.

    Attributes:
        lanes, tile_rows, vectors: the register tile.
        chunk: rows of one unit, a multiple of the tile's; the left rows of a chunk stay in the first cache.
        columns_outer: blocks of columns are the outer loop, so that large weights are read once.
    """

    lanes: int
    tile_rows: int
    vectors: int
    chunk: int
    columns_outer: bool


class IntegerMatrixProduct(Defaults):
    """The family; see the module's docstring."""

    name = "quantized_matmul"

    def claims(self, anchor: Node) -> bool:
        if is_op(anchor, *_LINEAR):
            return True
        if not is_op(anchor, *_CONVOLUTIONS):
            return False
        call = arguments(anchor)
        pointwise = all(size == 1 for size in shape(call.weight)[2:])
        return pointwise and call.groups == 1 and not any(call.padding)

    def wants(self, anchor: Node, position: int, view: View) -> DimOrder | None:
        rank = len(view.shape)
        if is_op(anchor, *_CONVOLUTIONS):
            return None if view.strides[1] == 1 or view.shape[1] == 1 else channels_last(rank)
        return None if view.strides[-1] == 1 or view.shape[-1] == 1 else tuple(range(rank))

    def order(self, anchor: Node, inputs: dict[int, View], rank: int) -> DimOrder:
        return channels_last(rank) if is_op(anchor, *_CONVOLUTIONS) else tuple(range(rank))

    def match(self, request: Request, target: Target) -> Match | No:
        anchor, output = request.anchor, request.output
        assert anchor is not None
        if 0 not in request.inputs or not {1, 3} <= set(request.constants):
            return No("its weight and scale must be constant, its input must not")
        left, weight, call = request.inputs[0], request.constants[1], arguments(anchor)
        convolution = is_op(anchor, *_CONVOLUTIONS)
        channel = 1 if convolution else len(left.shape) - 1
        if any(view.strides[channel] != 1 and view.shape[channel] != 1 for view in (left, output)):
            return No("channels are not neighbours in memory")
        others = [dim for dim in range(len(left.shape)) if dim != channel]
        views = (left, output, *request.operands)
        steps = [[view.strides[dim] for dim in others] for view in views]
        if convolution:
            steps[0] = [left.strides[0], *(s * by for s, by in zip(left.strides[2:], call.stride, strict=True))]
        nest = collapse([output.shape[dim] for dim in others], steps)
        sizes = nest.sizes or (1,)
        over_rows = [strides or (0,) for strides in nest.strides]
        dot, terms = integer_dot.choose(target, linear_words(weight))
        layouts = tuple(
            OperandLayout(view.buffer.dtype, (*rows, view.strides[channel]))
            for view, rows in zip(request.operands, over_rows[2:], strict=True)
        )
        problem = QuantizedMatmul(
            outer=sizes[:-1],
            rows=sizes[-1],
            inner=int(weight.shape[1]),
            columns=int(weight.shape[0]),
            left_strides=over_rows[0],
            output_strides=over_rows[1],
            dot=dot.name,
            terms=terms,
            paired=pairs(weight.numpy(), Run(int(weight.shape[1])).words),
            padding=call.x_zero_point + (128 if dot.flips else 0),
            requantize=requantize_of(call, request, target),
            epilogue=Epilogue(request.epilogue, layouts, output.buffer.dtype),
        )
        macs = prod(sizes) * problem.inner * problem.columns
        tensors = (weight, request.constants[3], *([request.constants[2]] if 2 in request.constants else []))
        shares = tuple(range(1, 1 + len(request.operands)))
        return Match(problem, (left,), request.outputs, request.operands, tensors, macs, shares)

    def knobs(self, problem: QuantizedMatmul, target: Target) -> Sequence[QuantizedMatmulKnob]:
        dot = integer_dot.by_name(problem.dot)
        weights_outer = problem.inner * problem.columns > bytes_at_hand(problem.paired, target)
        found: dict[QuantizedMatmulKnob, None] = {}
        for rows, vectors in tiles(dot, problem.terms, problem.columns, problem.rows, target):
            if weights_outer and problem.inner * problem.columns > prod(problem.outer) * problem.rows * problem.inner:
                chunk = -(-problem.rows // rows) * rows
            else:
                # A quarter of the rows at most, so that threads have something to share.
                fitting = min(target.cache.l1_bytes // 2 // problem.inner, -(-problem.rows // 4))
                chunk = max(1, fitting // rows) * rows
            found[QuantizedMatmulKnob(target.lanes(), rows, vectors, chunk, weights_outer)] = None
        return ranked(
            found, lambda knob: self.estimate(problem, knob, target), lambda knob: _bytes(problem, knob, target)
        )

    def pack(
        self, problem: QuantizedMatmul, knob: QuantizedMatmulKnob, tensors: Sequence[torch.Tensor]
    ) -> tuple[np.ndarray, ...]:
        weight, scale, *rest = tensors
        columns, words = _columns(problem, knob), linear_words(weight)
        bias = start_of(rest, len(weight), problem.requantize)
        start = wrap_int32(bias - problem.padding * words.astype(np.int64).sum(axis=(0, 2)))
        packed = pack_weights(words, columns, integer_dot.by_name(problem.dot), _run(problem, knob))
        if _expands(problem, knob):
            packed = _expanded(problem, knob).pack(packed)
        return packed, columns.pack(start.reshape(1, -1)), columns.pack(scale.numpy().reshape(1, -1))

    def units(self, problem: QuantizedMatmul, knob: QuantizedMatmulKnob) -> int:
        return prod(problem.outer) * _columns(problem, knob).blocks * -(-problem.rows // knob.chunk)

    def estimate(self, problem: QuantizedMatmul, knob: QuantizedMatmulKnob, target: Target) -> float:
        dot, columns, cycles = integer_dot.by_name(problem.dot), _columns(problem, knob), 0.0
        full, rest = divmod(problem.rows, knob.tile_rows)
        for tail in columns.kinds():
            widths = columns.widths(tail)
            for rows, count in ((knob.tile_rows, full), (rest, 1 if rest else 0)):
                if count:
                    one = tile_cycles(dot, problem.terms, _run(problem, knob), 1, rows, widths, target)
                    cycles += count * one * (1 if tail else columns.full)
        elements = prod(problem.outer) * problem.rows * problem.columns
        once = _expanded(problem, knob).cycles(target) if _expands(problem, knob) else 0.0
        return once + cycles * prod(problem.outer) + epilogue_cycles(problem.epilogue, elements, target)

    def scratch_bytes(self, problem: QuantizedMatmul, knob: QuantizedMatmulKnob) -> int:
        return _expanded(problem, knob).scratch_bytes if _expands(problem, knob) else _flipped_bytes(problem, knob)

    def emit(self, problem: QuantizedMatmul, knob: QuantizedMatmulKnob, target: Target) -> Any:
        dtypes = ["int8", "int8", "int32", "float32"]
        dtypes += [*(operand.dtype for operand in problem.epilogue.operands), problem.epilogue.dtype]
        dtypes += ["int8"] if self.scratch_bytes(problem, knob) else []
        return kernel(
            target, dtypes, lambda memories, begin, end: _Emitter(problem, knob, target, memories).run(begin, end)
        )


def _columns(problem: QuantizedMatmul, knob: QuantizedMatmulKnob) -> Columns:
    return Columns(problem.columns, knob.lanes, knob.vectors)


def _expands(problem: QuantizedMatmul, knob: QuantizedMatmulKnob) -> bool:
    """Tell whether weights that are stored two a byte become bytes in scratch first; a single row needs each once."""
    return problem.paired and knob.tile_rows > 1


def _run(problem: QuantizedMatmul, knob: QuantizedMatmulKnob) -> Run:
    return Run(problem.inner, problem.paired and not _expands(problem, knob))


def _flipped_bytes(problem: QuantizedMatmul, knob: QuantizedMatmulKnob) -> int:
    """Return how much of the scratch a chunk of rows with flipped signs takes."""
    return min(knob.chunk, problem.rows) * problem.inner if integer_dot.by_name(problem.dot).flips else 0


def _expanded(problem: QuantizedMatmul, knob: QuantizedMatmulKnob) -> Expanded:
    words = _run(problem, knob).words
    return Expanded(_columns(problem, knob), words, 1, knob.columns_outer, _flipped_bytes(problem, knob))


def _bytes(problem: QuantizedMatmul, knob: QuantizedMatmulKnob, target: Target) -> float:
    """Estimate the bytes of code, by the tiles that it is made of, and of weights."""
    columns, dot, narrows = _columns(problem, knob), integer_dot.by_name(problem.dot), problem.requantize is not None
    heights = {knob.tile_rows if problem.rows >= knob.tile_rows else 0, problem.rows % knob.tile_rows} - {0}
    run = _run(problem, knob)
    weights = run.words * WORD * problem.columns / (2 if problem.paired else 1)
    return weights + sum(
        tile_bytes(dot, problem.terms, run, rows, columns.widths(tail), columns.valid(tail), target, narrows=narrows)
        for tail in columns.kinds()
        for rows in heights
    )


class _Emitter:
    """Writes the loops of one matrix product."""

    def __init__(
        self, problem: QuantizedMatmul, knob: QuantizedMatmulKnob, target: Target, memories: list[Memory]
    ) -> None:
        self.problem, self.knob, self.target = problem, knob, target
        self.columns, self.dot = _columns(problem, knob), integer_dot.by_name(problem.dot)
        rest = iter(memories)
        self.x, self.w, self.bias, self.scale = (next(rest) for _ in range(4))
        self.operands = [next(rest) for _ in problem.epilogue.operands]
        self.y = next(rest)
        scratch = next(rest, self.x)  # where there is none, no one asks for it
        self.left = scratch if self.dot.flips else self.x
        self.expands, self.expanded = _expands(problem, knob), _expanded(problem, knob)
        self.weights = scratch if self.expands else self.w

    def run(self, begin: Any, end: Any) -> None:
        """One unit is one chunk of rows of one block of columns of one product."""
        problem, blocks = self.problem, self.columns.blocks
        chunks = -(-problem.rows // self.knob.chunk)
        if self.expands:
            self.expanded.expand_all(self.w, self.weights, self.target)
        with T.serial(begin, end) as unit:
            if self.knob.columns_outer:
                *outer, block, chunk = split(unit, (*problem.outer, blocks, chunks))
                changed = True if chunks > 1 or problem.outer else unit == begin
            else:
                *outer, chunk, block = split(unit, (*problem.outer, chunks, blocks))
                changed = T.Or(block == 0, unit == begin) if blocks > 1 else True
            if self.dot.flips:
                with when(changed):
                    self._flip(outer, chunk, chunks)
            kinds = self.columns.kinds()
            for tail in kinds:
                condition = block >= self.columns.full if tail else block < self.columns.full
                with when(True if len(kinds) == 1 else condition):
                    if self.expands and self.knob.columns_outer:
                        with when(True if chunks == 1 else T.Or(chunk == 0, unit == begin)):
                            column = block * self.columns.block
                            self.expanded.expand_block(self.w, self.weights, column, self.target, tail=tail)
                    self._chunk(outer, chunk, chunks, block, tail)

    def _flip(self, outer: Sequence[Index], chunk: Index, chunks: int) -> None:
        """Copy the rows of a chunk with their signs flipped."""
        problem, size = self.problem, self.knob.chunk
        last = problem.rows - (chunks - 1) * size
        count = last if chunks == 1 else T.Select(chunk == chunks - 1, last, size)
        first = T.bind(address([*outer, chunk * size], problem.left_strides))
        with loop(0, count) as row:
            source = T.bind(first + row * problem.left_strides[-1])
            for place, lanes in spans(problem.inner, self.target.lanes(8)):
                value = load(self.x, source + place, lanes) ^ splat(-128, "int8", lanes)
                store(self.left, row * problem.inner + place, value, lanes)

    def _chunk(self, outer: Sequence[Index], chunk: Index, chunks: int, block: Index, tail: bool) -> None:
        rows, size, tile = self.problem.rows, self.knob.chunk, self.knob.tile_rows
        last = rows - (chunks - 1) * size
        full: Index = size // tile
        if chunks == 1:
            full = last // tile
        elif last != size:
            full = T.bind(T.Select(chunk == chunks - 1, last // tile, size // tile))
        if not isinstance(full, int) or full:
            with loop(0, full) as t:
                self._tile(outer, chunk, t * tile, tile, block, tail)
        if last % tile:
            with when(True if chunks == 1 else chunk == chunks - 1):
                self._tile(outer, chunk, last - last % tile, last % tile, block, tail)

    def _tile(self, outer: Sequence[Index], chunk: Index, first: Index, rows: int, block: Index, tail: bool) -> None:
        """Compute `rows` rows from the chunk's row `first` on."""
        problem, widths = self.problem, self.columns.widths(tail)
        sums = IntegerTile(self.dot, problem.terms, _run(problem, self.knob), widths, rows)
        column = block * self.columns.block
        sums.fill(
            [T.bind(load(self.bias, column + start, width)) for start, width in zip(sums.starts, widths, strict=True)]
        )
        row = T.bind(chunk * self.knob.chunk + first)
        if self.dot.flips:
            left, step = first * problem.inner, problem.inner
        else:
            left, step = address([*outer, row], problem.left_strides), problem.left_strides[-1]
        left = T.bind(left)
        places = [left + p * step for p in range(rows)]
        stored = column * (sums.run.stored_words * WORD)
        at = T.bind(self.expanded.place(column) if self.expands else stored)
        sums.accumulate(self.left, places, self.weights, at)

        def place(strides: Sequence[int], p: int, v: int) -> Index:
            return address((*outer, row + p, column + v), strides)

        sums.finish(
            self.scale, column, self.columns.valid(tail), problem.requantize, problem.epilogue, self.operands, self.y,
            place, (*problem.output_strides, 1), self.target,
        )  # fmt: skip
