"""Matrix products: linear layers, pointwise convolutions, batched products of two activations.

Rows (pixels) by columns (output channels) are held in registers while the inner dimension passes by. A constant right
matrix is packed by blocks of columns; one that is computed at run time is read as it is, its columns being neighbours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from torch.fx import Node

from prunus.backends.kernels.convolution import convolution_arguments
from prunus.backends.kernels.emit import Memory, Registers, address, kernel, load, loop, split, when
from prunus.backends.kernels.family import (
    Defaults,
    Epilogue,
    Match,
    No,
    OperandLayout,
    Request,
    not_float32,
    unlike_a_layer,
)
from prunus.backends.kernels.loops import collapse
from prunus.backends.kernels.tiling import (
    Columns,
    epilogue_cycles,
    finish,
    parts,
    rows_that_fit,
    tile_cycles,
    with_weights,
)
from prunus.backends.kernels.tir import T
from prunus.backends.kernels.vector_math import splat
from prunus.backends.plan.layout import DimOrder, channels_last
from prunus.backends.plan.program import View
from prunus.passes.graph import aten, is_op, shape
from prunus.targets import Target


@dataclass(frozen=True)
class Matmul:
    """Problem: y[outer, m, n] = sum over k of a[outer, m, k] * b[outer, k, n].

    Attributes:
        outer: sizes of loops over whole products.
        rows, inner, columns: m, k and n.
        left_strides: over (*outer, m, k).
        right_strides: over (*outer, k, n); None for a packed constant.
        output_strides: over (*outer, m, n).
        bias: a constant row is added; packed as well.
        epilogue: operands' strides are over (*outer, m, n).
    """

    outer: tuple[int, ...]
    rows: int
    inner: int
    columns: int
    left_strides: tuple[int, ...]
    right_strides: tuple[int, ...] | None
    output_strides: tuple[int, ...]
    bias: bool
    epilogue: Epilogue


@dataclass(frozen=True)
class MatmulKnob:
    """Way of computing.

    Attributes:
        lanes, tile_rows, vectors: the register tile.
        tail_rows: rows of the tile for the last, narrower block of columns.
        chunk: rows of one unit, a multiple of neither; the left rows of a chunk stay in the first cache.
        columns_outer: blocks of columns are the outer loop, so that a large right matrix is read once.
    """

    lanes: int
    tile_rows: int
    vectors: int
    tail_rows: int
    chunk: int
    columns_outer: bool


class MatrixProduct(Defaults):
    """The family; see the module's docstring."""

    name = "matmul"

    def claims(self, anchor: Node) -> bool:
        if is_op(anchor, aten.linear.default, aten.matmul.default, aten.bmm.default, aten.mm.default):
            return True
        return is_op(anchor, aten.conv1d.default, aten.conv2d.default) and _is_pointwise(anchor)

    def wants(self, anchor: Node, position: int, view: View) -> DimOrder | None:
        rank = len(view.shape)
        if is_op(anchor, aten.conv1d.default, aten.conv2d.default):
            return None if position != 0 or view.strides[1] == 1 or view.shape[1] <= 4 else channels_last(rank)
        return None if view.strides[-1] == 1 or view.shape[-1] == 1 else tuple(range(rank))

    def order(self, anchor: Node, inputs: dict[int, View], rank: int) -> DimOrder:
        convolution = is_op(anchor, aten.conv1d.default, aten.conv2d.default)
        return channels_last(rank) if convolution else tuple(range(rank))

    def match(self, request: Request, target: Target) -> Match | No:
        anchor = request.anchor
        assert anchor is not None
        if any(before or after for before, after in request.padding):
            return No("padding in front of it")
        convolution = is_op(anchor, aten.conv1d.default, aten.conv2d.default)
        layer = convolution or is_op(anchor, aten.linear.default)
        refusal = unlike_a_layer(request) if layer else not_float32(request)
        if refusal is not None:
            return refusal
        if convolution:
            return self._match_pointwise(request, convolution_arguments(anchor).stride)
        return self._match_linear(request) if layer else self._match_product(request)

    def _match_linear(self, request: Request) -> Match | No:
        left, weight = request.inputs[0], request.constants[1]
        return _match(
            request, left.shape[:-1], int(weight.shape[1]), int(weight.shape[0]), left, left.strides, None,
            tuple, (weight.reshape(weight.shape[0], -1), request.constants.get(2)),
        )  # fmt: skip

    def _match_pointwise(self, request: Request, stride: tuple[int, int]) -> Match | No:
        left, weight = request.inputs[0], request.constants[1]
        output = request.output
        steps = stride[-1:] if len(left.shape) == 3 else stride
        spatial = tuple(step * by for step, by in zip(left.strides[2:], steps, strict=True))

        def in_loop_order(strides: Sequence[int]) -> tuple[int, ...]:
            return (strides[0], *strides[2:], strides[1])

        left_strides = (left.strides[0], *spatial, left.strides[1])
        rows = (output.shape[0], *output.shape[2:])
        return _match(
            request, rows, int(weight.shape[1]), int(weight.shape[0]), left, left_strides, None,
            in_loop_order, (weight.reshape(weight.shape[0], -1), request.constants.get(2)),
        )  # fmt: skip

    def _match_product(self, request: Request) -> Match | No:
        if 0 not in request.inputs or (1 not in request.inputs and 1 not in request.constants):
            return No("its left matrix is a constant")
        left, output = request.inputs[0], request.output
        if len(left.shape) < 2:
            return No("a vector on the left")
        if 1 in request.constants:
            right = request.constants[1]
            if right.dim() != 2:
                return No("a constant batch of matrices on the right")
            return _match(
                request, left.shape[:-1], int(right.shape[0]), int(right.shape[1]), left, left.strides, None,
                tuple, (right.t(), None),
            )  # fmt: skip
        right_view = request.inputs[1]
        if len(right_view.shape) < 2:
            return No("a vector on the right")
        if right_view.strides[-1] != 1 and right_view.shape[-1] != 1:
            return No("columns of the right matrix are not neighbours in memory")
        batch = output.shape[:-2]
        left_strides = (*_broadcast(left, batch), *left.strides[-2:])
        right_strides = (*_broadcast(right_view, batch), right_view.strides[-2])
        return _match(
            request, (*batch, left.shape[-2]), left.shape[-1], output.shape[-1], left, left_strides,
            (right_view, right_strides), tuple, None,
        )  # fmt: skip

    def knobs(self, problem: Matmul, target: Target) -> Sequence[MatmulKnob]:
        lanes = target.lanes()
        found: dict[MatmulKnob, None] = {}
        for vectors in range(1, 1 + min(8, -(-problem.columns // lanes))):
            tail = Columns(problem.columns, lanes, vectors, problem.right_strides is not None).widths(tail=True)
            tail_rows = min(rows_that_fit(max(1, len(tail)), target), problem.rows)
            most = min(rows_that_fit(vectors, target), problem.rows)
            for fewer in {most, *(count for count in (4, 6, 8, 12) if count < most)}:
                tile = -(-problem.rows // -(-problem.rows // fewer))
                chunk, outer = self._chunk(problem, tile, vectors, target)
                found[MatmulKnob(lanes, tile, vectors, tail_rows, chunk, outer)] = None
        return sorted(found, key=lambda knob: self.estimate(problem, knob, target))

    def _chunk(self, problem: Matmul, tile: int, vectors: int, target: Target) -> tuple[int, bool]:
        """Return the rows of a unit, and whether blocks of columns are the outer loop."""
        right_bytes = 4 * problem.inner * problem.columns
        left_bytes = 4 * problem.inner * problem.rows
        if right_bytes > target.cache.l2_bytes // 2 and right_bytes > left_bytes:
            blocks = prod(problem.outer) * -(-problem.columns // (target.lanes() * vectors))
            return problem.rows // parts(blocks, problem.rows, tile, target.cores), True
        fitting = max(1, target.cache.l1_bytes // 2 // (4 * problem.inner))
        quarter = -(-problem.rows // 4)
        rows = max(tile, min(fitting, quarter) // tile * tile)
        return min(rows, problem.rows), False

    def pack(self, problem: Matmul, knob: MatmulKnob, tensors: Sequence[torch.Tensor]) -> tuple[np.ndarray, ...]:
        if not tensors:
            return ()
        columns = _columns(problem, knob)
        packed = columns.pack(tensors[0].detach().numpy().T)
        return (packed, columns.pack(tensors[1].detach().numpy().reshape(1, -1))) if problem.bias else (packed,)

    def units(self, problem: Matmul, knob: MatmulKnob) -> int:
        return prod(problem.outer) * _columns(problem, knob).blocks * -(-problem.rows // knob.chunk)

    def estimate(self, problem: Matmul, knob: MatmulKnob, target: Target) -> float:
        columns, cycles = _columns(problem, knob), 0.0
        for tail in columns.kinds():
            widths, tile = columns.widths(tail), knob.tail_rows if tail else knob.tile_rows
            full, rest = divmod(problem.rows, tile)
            step = full * tile_cycles(tile, widths, target) + (tile_cycles(rest, widths, target) if rest else 0)
            fill = problem.rows * len(widths) * 2
            block_bytes = 4 * problem.inner * sum(widths)
            again = block_bytes * (full + bool(rest) - 1)
            block = with_weights(step * problem.inner + fill, again, block_bytes, target)
            cycles += block * (1 if tail else columns.full)
        elements = prod(problem.outer) * problem.rows * problem.columns
        return cycles * prod(problem.outer) + epilogue_cycles(problem.epilogue, elements, target)

    def emit(self, problem: Matmul, knob: MatmulKnob, target: Target) -> Any:
        dtypes = ["float32", "float32", *(["float32"] if problem.bias else [])]
        dtypes += [*(operand.dtype for operand in problem.epilogue.operands), problem.epilogue.dtype]
        return kernel(target, dtypes, lambda memories, begin, end: _Emitter(problem, knob, memories).run(begin, end))


def _is_pointwise(node: Node) -> bool:
    weight = node.args[1]
    arguments = convolution_arguments(node)
    return (
        isinstance(weight, Node)
        and all(size == 1 for size in shape(weight)[2:])
        and arguments.groups == 1
        and arguments.padding == (0, 0)
    )


def _broadcast(view: View, batch: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of a view over the batch dimensions of the product, 0 where it is repeated."""
    own = view.shape[:-2]
    missing = len(batch) - len(own)
    steps = [0 if size == 1 else step for size, step in zip(own, view.strides[:-2], strict=True)]
    return (*([0] * missing), *steps)


def _match(
    request: Request,
    rows: Sequence[int],
    inner: int,
    columns: int,
    left: View,
    left_strides: Sequence[int],
    right: tuple[View, Sequence[int]] | None,
    in_loop_order: Any,
    packed: tuple[torch.Tensor, torch.Tensor | None] | None,
) -> Match | No:
    """Join the row dimensions as far as every tensor allows; the innermost that is left is m."""
    output = request.output
    output_strides = in_loop_order(output.strides)
    if output_strides[-1] != 1 and columns != 1:
        return No("columns of the result are not neighbours in memory")
    operand_strides = [in_loop_order(view.strides) for view in request.operands]
    # The right matrix does not depend on m, so its last entry here is 0.
    right_rows = (*right[1][:-1], 0) if right is not None else (0,) * len(rows)
    over_rows = [left_strides[:-1], output_strides[:-1], right_rows, *(strides[:-1] for strides in operand_strides)]
    nest = collapse(rows, over_rows)
    sizes = nest.sizes or (1,)
    left_rows, output_rows, right_outer, *operand_rows = [steps or (0,) for steps in nest.strides]
    if right_outer[-1] != 0:
        sizes, left_rows, output_rows, right_outer = (*sizes, 1), (*left_rows, 0), (*output_rows, 0), (*right_outer, 0)
        operand_rows = [(*steps, 0) for steps in operand_rows]
    layouts = tuple(
        OperandLayout(view.buffer.dtype, (*steps, strides[-1]))
        for view, steps, strides in zip(request.operands, operand_rows, operand_strides, strict=True)
    )
    problem = Matmul(
        outer=sizes[:-1],
        rows=sizes[-1],
        inner=inner,
        columns=columns,
        left_strides=(*left_rows, left_strides[-1]),
        right_strides=None if right is None else (*right_outer[:-1], right[1][-1], 1),
        output_strides=(*output_rows, 1),
        bias=packed is not None and packed[1] is not None,
        epilogue=Epilogue(request.epilogue, layouts, output.buffer.dtype),
    )
    reads = (left,) if right is None else (left, right[0])
    tensors = tuple(tensor for tensor in packed or () if tensor is not None)
    macs = prod(sizes) * inner * columns
    shares = tuple(range(len(reads), len(reads) + len(request.operands)))
    return Match(problem, reads, request.outputs, request.operands, tensors, macs, shares)


def _columns(problem: Matmul, knob: MatmulKnob) -> Columns:
    return Columns(problem.columns, knob.lanes, knob.vectors, exact=problem.right_strides is not None)


class _Emitter:
    """Writes the loops of one matrix product."""

    def __init__(self, problem: Matmul, knob: MatmulKnob, memories: list[Memory]) -> None:
        self.problem, self.knob = problem, knob
        self.columns = _columns(problem, knob)
        self.a, self.b = memories[0], memories[1]
        self.bias = memories[2] if problem.bias else None
        self.operands, self.y = memories[2 + problem.bias : -1], memories[-1]

    def run(self, begin: Any, end: Any) -> None:
        """One unit is one chunk of rows of one block of columns of one product."""
        problem, blocks = self.problem, self.columns.blocks
        chunks = -(-problem.rows // self.knob.chunk)
        with T.serial(begin, end) as unit:
            if self.knob.columns_outer:
                *outer, block, chunk = split(unit, (*problem.outer, blocks, chunks))
            else:
                *outer, chunk, block = split(unit, (*problem.outer, chunks, blocks))
            kinds = self.columns.kinds()
            for tail in kinds:
                condition = block >= self.columns.full if tail else block < self.columns.full
                with when(True if len(kinds) == 1 else condition):
                    self._chunk(outer, chunk, chunks, block, tail)

    def _chunk(self, outer: Sequence[Any], chunk: Any, chunks: int, block: Any, tail: bool) -> None:
        rows, size = self.problem.rows, self.knob.chunk
        last = rows - (chunks - 1) * size
        tile = min(self.knob.tail_rows if tail else self.knob.tile_rows, size)
        if chunks == 1 or last == size:
            self._rows(outer, chunk * size, size, tile, block, tail)
            return
        with T.If(chunk < chunks - 1):
            with T.Then():
                self._rows(outer, chunk * size, size, tile, block, tail)
            with T.Else():
                self._rows(outer, (chunks - 1) * size, last, min(tile, last), block, tail)

    def _rows(self, outer: Sequence[Any], first: Any, count: int, tile: int, block: Any, tail: bool) -> None:
        full, rest = divmod(count, tile)
        with loop(0, full) as t:
            self._tile(outer, first + t * tile, tile, block, tail)
        if rest:
            self._tile(outer, first + full * tile, rest, block, tail)

    def _tile(self, outer: Sequence[Any], row: Any, rows: int, block: Any, tail: bool) -> None:
        problem, widths = self.problem, self.columns.widths(tail)
        count = len(widths)
        starts = [sum(widths[:v]) for v in range(count)]
        sums = Registers(rows * count, widths * rows)
        column = block * self.columns.block
        for v in range(count):
            first = splat(0.0, "float32", widths[v])
            if self.bias is not None:
                first = T.bind(load(self.bias, column + starts[v], widths[v]))
            for p in range(rows):
                sums[p * count + v] = first
        left = T.bind(address([*outer, row], problem.left_strides[:-1]))
        row_step, inner_step = problem.left_strides[-2:]
        if problem.right_strides is None:
            right, right_step = T.bind(block * (self.columns.block * problem.inner)), sum(widths)
        else:
            right = T.bind(address([*outer, column], (*problem.right_strides[:-2], 1)))
            right_step = problem.right_strides[-2]
        with loop(0, problem.inner) as k:
            weights = [T.bind(load(self.b, right + k * right_step + starts[v], widths[v])) for v in range(count)]
            for p in range(rows):
                x = load(self.a, left + p * row_step + k * inner_step)
                for v, width in enumerate(widths):
                    kind = "float32" if width == 1 else f"float32x{width}"
                    wide = x if width == 1 else T.broadcast(x, width)
                    sums[p * count + v] = T.call_llvm_pure_intrin(
                        kind, "llvm.fmuladd", wide, weights[v], sums[p * count + v]
                    )
        valid = self.columns.valid(tail)
        for p in range(rows):
            for v, width in enumerate(widths):

                def place(strides: Sequence[int], lane: int, p: int = p, v: int = v) -> Any:
                    return address([*outer, row + p, column + (starts[v] + lane)], strides)

                finish(
                    sums, p * count + v, min(width, valid - starts[v]), problem.epilogue, self.operands, self.y, place,
                    problem.output_strides, width,
                )  # fmt: skip
