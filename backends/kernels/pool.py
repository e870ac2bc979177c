"""Pooling: maxima and averages of windows, sliding or adaptive, over one to three dimensions.

Channels (or any other neighbours in memory that a window does not mix) are the lanes. The rows of a window are combined
first, for each input column under a tile of windows; then the columns of each window. Windows that overlap share the
first part: 5 by 5 windows, one apart, take about 10 operations each instead of 24. Long windows go one at a time.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.fx import Node

from prunus.backends.kernels.emit import Memory, address, kernel, load, loop, split, when
from prunus.backends.kernels.family import Defaults, Epilogue, Match, No, OperandLayout, Request
from prunus.backends.kernels.loops import collapse
from prunus.backends.kernels.pool_axis import PoolAxis
from prunus.backends.kernels.rows import Partials, memory_order, spread, store_after
from prunus.backends.kernels.tiling import Columns, accumulator_limit, epilogue_cycles
from prunus.backends.kernels.tir import T
from prunus.backends.kernels.vector_math import splat
from prunus.backends.kernels.window import Axis, Tile
from prunus.backends.plan.layout import DimOrder
from prunus.backends.plan.program import View
from prunus.passes.arguments import arguments, per_dim
from prunus.passes.graph import aten, is_op, users_of_item
from prunus.targets import Target

_MAX: dict[object, int] = {aten.max_pool1d.default: 1, aten.max_pool2d.default: 2, aten.max_pool3d.default: 3}
_AVERAGE: dict[object, int] = {aten.avg_pool1d.default: 1, aten.avg_pool2d.default: 2, aten.avg_pool3d.default: 3}
_ADAPTIVE_MAX: dict[object, int] = {aten.adaptive_max_pool1d.default: 1, aten.adaptive_max_pool2d.default: 2}
_ADAPTIVE_AVERAGE: dict[object, int] = {aten.adaptive_avg_pool1d.default: 1, aten.adaptive_avg_pool2d.default: 2}
_DIMS: dict[object, int] = {**_MAX, **_AVERAGE, **_ADAPTIVE_MAX, **_ADAPTIVE_AVERAGE}

# Windows of at most this many columns are unrolled and share their columns.
_SHORT = 8
# Fewer channels than this are not worth a copy that makes them neighbours.
_FEW_CHANNELS = 4


@dataclass(frozen=True)
class Pooling:
    """Problem. Strides are over (*outer, *axes, channel).

    Attributes:
        average: divide sums by their counts; else maxima.
        dtype: of input and result.
        outer: sizes of loops that windows do not mix, apart from the channel.
        axes: what windows go over, columns last.
        channels: lanes.
        divisor: what averages are divided by instead of their counts; 0 for the counts.
    """

    average: bool
    dtype: str
    outer: tuple[int, ...]
    axes: tuple[PoolAxis, ...]
    channels: int
    divisor: int
    input_strides: tuple[int, ...]
    output_strides: tuple[int, ...]
    epilogue: Epilogue

    @property
    def short(self) -> bool:
        """Columns are worth unrolling."""
        columns = self.axes[-1]
        return not columns.adaptive and columns.axis.kernel <= _SHORT


@dataclass(frozen=True)
class PoolingKnob:
    """Way of computing: the input columns under `pixels` windows by `vectors` registers of `lanes`."""

    lanes: int
    pixels: int
    vectors: int


class Pools(Defaults):
    """The family; see the module's docstring."""

    name = "pool"

    def claims(self, anchor: Node) -> bool:
        return is_op(anchor, *_DIMS)

    def wants(self, anchor: Node, position: int, view: View) -> DimOrder | None:
        channel = len(view.shape) - _DIMS[anchor.target] - 1
        if view.strides[channel] == 1 or view.shape[channel] < _FEW_CHANNELS:
            return None
        return _channel_fastest(len(view.shape), channel)

    def order(self, anchor: Node, inputs: dict[int, View], rank: int) -> DimOrder:
        channel = rank - _DIMS[anchor.target] - 1
        if inputs[0].shape[channel] < _FEW_CHANNELS:
            return memory_order(inputs[0])
        return _channel_fastest(rank, channel)

    def match(self, request: Request, target: Target) -> Match | No:
        anchor, output = request.anchor, request.output
        assert anchor is not None
        if 0 not in request.inputs:
            return No("its input is a constant")
        view, dims = request.inputs[0], _DIMS[anchor.target]
        average = is_op(anchor, *_AVERAGE, *_ADAPTIVE_AVERAGE)
        if view.buffer.dtype == "bool" or (average and view.buffer.dtype != "float32"):
            return No(f"it reads {view.buffer.dtype}")
        if math.prod(output.shape) == 0:
            return No("it is empty")
        if request.padding:
            return No("zeros were padded in front of it")
        if is_op(anchor, *_ADAPTIVE_MAX) and any(user.users for user in users_of_item(anchor, 1)):
            return No("the indices of its maxima are read")
        rank = len(view.shape)
        axes = _axes(anchor, view.shape[-dims:], output.shape[-dims:])
        mixed = [dim for dim in range(rank) if dim >= rank - dims and not axes[dim - rank].free] or [rank - 1]
        free = [dim for dim in range(rank) if dim not in mixed]
        lanes = [d for d in free if view.strides[d] == 1 and output.strides[d] == 1 and view.shape[d] > 1][-1:]
        outer = [dim for dim in free if dim not in lanes]
        views = (view, output, *request.operands)
        nest = collapse([view.shape[d] for d in outer], [[v.strides[d] for d in outer] for v in views], sort_by=1)

        def over_loops(other: View, joined: tuple[int, ...]) -> tuple[int, ...]:
            channel = [other.strides[dim] for dim in lanes] or [0]
            return (*joined, *(other.strides[dim] for dim in mixed), *channel)

        strides = [over_loops(other, joined) for other, joined in zip(views, nest.strides, strict=True)]
        layouts = zip(request.operands, strides[2:], strict=True)
        problem = Pooling(
            average=average,
            dtype=view.buffer.dtype,
            outer=nest.sizes,
            axes=tuple(axes[dim - rank] for dim in mixed),
            channels=view.shape[lanes[0]] if lanes else 1,
            divisor=getattr(arguments(anchor), "divisor_override", None) or 0,
            input_strides=strides[0],
            output_strides=strides[1],
            epilogue=Epilogue(
                request.epilogue, tuple(OperandLayout(v.buffer.dtype, over) for v, over in layouts), output.buffer.dtype
            ),
        )
        shares = tuple(range(1, 1 + len(request.operands)))
        return Match(problem, (view,), request.outputs[:1], request.operands, shares=shares)

    def knobs(self, problem: Pooling, target: Target) -> Sequence[PoolingKnob]:
        lanes = target.lanes(np.dtype(problem.dtype).itemsize * 8) if problem.channels > 1 else 1
        columns = problem.axes[-1]
        found = [PoolingKnob(lanes, 1, 1)]
        for vectors in range(1, 1 + min(4, -(-problem.channels // lanes))):
            for pixels in (1, 2, 3, 4, 6, 8) if problem.short else (1,):
                registers = vectors * (_columns_under(columns, pixels) if problem.short else 1)
                if pixels <= columns.outputs and registers <= accumulator_limit(target) - 1:
                    found.append(PoolingKnob(lanes, pixels, vectors))
        return sorted(dict.fromkeys(found), key=lambda knob: self.estimate(problem, knob, target))

    def units(self, problem: Pooling, knob: PoolingKnob) -> int:
        rows = math.prod(axis.outputs for axis in problem.axes[:-1])
        return math.prod(problem.outer) * rows * _columns(problem, knob).blocks

    def estimate(self, problem: Pooling, knob: PoolingKnob, target: Target) -> float:
        ports = 2.0 if target.architecture == "x86_64" or target.fma_per_cycle >= 8 else 1.0
        rate = max(1.0, target.fma_per_cycle / target.lanes())
        columns = problem.axes[-1]
        blocks = _columns(problem, knob)
        vectors = sum(len(blocks.widths(tail)) * (1 if tail else blocks.full) for tail in blocks.kinds())
        rows = math.prod(axis.reads() for axis in problem.axes[:-1])
        row_count = math.prod(axis.outputs for axis in problem.axes[:-1])
        # A block of channels narrower than a cache line reads it several times, often from afar.
        block = knob.vectors * knob.lanes
        again = max(1.0, math.sqrt(16 / block)) if problem.channels > block else 1.0
        step = max(again / ports, 1.0 / rate)
        if problem.short:
            tiles = [(tile, columns.phase.readers(tile)) for tile in columns.phase.tiles(knob.pixels)]
            down = sum(t.repeats * max(len(under) * step, 4.0 / knob.vectors) for t, under in tiles)
            across = sum(t.repeats * sum(map(len, under.values())) for t, under in tiles) / rate
        else:
            down, across = columns.reads() * max(step, 4.0 / knob.vectors), 0.0
        elements = math.prod(problem.outer) * math.prod(axis.outputs for axis in problem.axes) * problem.channels
        ends = 2.0 * elements / min(knob.lanes, problem.channels) + 8.0 * self.units(problem, knob)
        cycles = math.prod(problem.outer) * vectors * (rows * down + row_count * across)
        return cycles + ends + epilogue_cycles(problem.epilogue, elements, target)

    def emit(self, problem: Pooling, knob: PoolingKnob, target: Target) -> Any:
        dtypes = [problem.dtype, *(operand.dtype for operand in problem.epilogue.operands), problem.epilogue.dtype]
        return kernel(
            target, dtypes, lambda memories, begin, end: _Emitter(problem, knob, target, memories).run(begin, end)
        )


def _channel_fastest(rank: int, channel: int) -> DimOrder:
    return (*(dim for dim in range(rank) if dim != channel), channel)


def _axes(anchor: Node, sizes: Sequence[int], outputs: Sequence[int]) -> list[PoolAxis]:
    """Return the axes of a pooling operator over its spatial dimensions."""
    call, dims = arguments(anchor), len(sizes)
    if is_op(anchor, *_ADAPTIVE_MAX, *_ADAPTIVE_AVERAGE):
        return [
            PoolAxis(Axis(size, count, 1 if size == count else -(-size // count)), adaptive=size != count)
            for size, count in zip(sizes, outputs, strict=True)
        ]
    kernel_size = per_dim(call.kernel_size, dims)
    stride = per_dim(call.stride, dims) if call.stride else kernel_size
    padding, dilation = per_dim(call.padding, dims), per_dim(getattr(call, "dilation", 1), dims)
    numbers = zip(sizes, outputs, kernel_size, stride, dilation, padding, strict=True)
    return [PoolAxis(Axis(*values), counts_padding=getattr(call, "count_include_pad", False)) for values in numbers]


def _columns_under(columns: PoolAxis, pixels: int) -> int:
    """Return how many input columns lie under so many neighbouring windows."""
    axis = columns.axis
    return len({p * axis.stride + tap * axis.dilation for p in range(pixels) for tap in range(axis.kernel)})


def _columns(problem: Pooling, knob: PoolingKnob) -> Columns:
    return Columns(problem.channels, knob.lanes, knob.vectors, exact=True)


class _Emitter:
    """Writes the loops of one pooling."""

    def __init__(self, problem: Pooling, knob: PoolingKnob, target: Target, memories: list[Memory]) -> None:
        self.problem, self.knob, self.target = problem, knob, target
        self.x, self.operands, self.y = memories[0], memories[1:-1], memories[-1]

    def run(self, begin: Any, end: Any) -> None:
        """One unit is one output row of one block of channels."""
        problem, blocks = self.problem, _columns(self.problem, self.knob)
        rows = [axis.outputs for axis in problem.axes[:-1]]
        kinds = blocks.kinds()
        with T.serial(begin, end) as unit:
            *place, block = split(unit, (*problem.outer, *rows, blocks.blocks))
            for tail in kinds:
                with when(True if len(kinds) == 1 else block >= blocks.full if tail else block < blocks.full):
                    self._row(place, T.bind(block * blocks.block), blocks.widths(tail))

    def _row(self, place: list[Any], channel: Any, widths: Sequence[int]) -> None:
        problem = self.problem
        rows, columns = place[len(problem.outer) :], problem.axes[-1]
        windows = [axis.window(q) for axis, q in zip(problem.axes, rows, strict=False)]
        corner = [start for start, _, _ in windows]
        base = T.bind(address((*place[: len(problem.outer)], *corner, 0, channel), problem.input_strides))
        counts = [axis.count_at(q, *window[1:]) for axis, q, window in zip(problem.axes, rows, windows, strict=False)]
        if not problem.short:
            with loop(0, columns.outputs) as column:
                start, low, high = columns.window(column)
                values = self._long(base + start * problem.input_strides[-2], windows, low, high, widths)
                self._store(values, (*place, column), [*counts, columns.count_at(column, low, high)], channel, widths)
            return
        for tile in columns.phase.tiles(self.knob.pixels):
            with loop(0, tile.repeats) as repeat:
                start = tile.start + repeat * tile.width
                for p, values in enumerate(self._short(base, windows, tile, start, widths)):
                    counted = [*counts, columns.count(tile.start + p)]
                    self._store(values, (*place, start + p), counted, channel, widths)

    @contextmanager
    def _taps(self, base: Any, windows: Sequence[tuple[Any, Any, Any]]) -> Iterator[Any]:
        """Loop over the rows of the window; yields the address of each."""
        problem = self.problem
        with ExitStack() as stack:
            for index, (_, low, high) in enumerate(windows):
                step = problem.axes[index].axis.dilation * problem.input_strides[len(problem.outer) + index]
                base = T.bind(base + stack.enter_context(loop(low, high)) * step)
            yield base

    def _short(self, base: Any, windows: Any, tile: Tile, start: Any, widths: Sequence[int]) -> list[list[Any]]:
        """Return the vectors of each window of a tile: rows are combined for each input column, then columns."""
        columns, stride, count = self.problem.axes[-1].phase, self.problem.input_strides[-2], len(widths)
        under = columns.readers(tile)
        gathered = self._partials(list(widths) * len(under))
        corner = T.bind(base + (start * columns.input_step + columns.taps.first_offset) * stride)
        with self._taps(corner, windows) as line:
            for index, input_column in enumerate(under):
                first = 0
                for v, lanes in enumerate(widths):
                    gathered.add(index * count + v, load(self.x, line + input_column * stride + first, lanes))
                    first += lanes
        windows_over = [
            [index for index, served in enumerate(under.values()) if any(p == q for q, _ in served)]
            for p in range(tile.width)
        ]
        return [[gathered.merged(i * count + v for i in over) for v in range(count)] for over in windows_over]

    def _long(self, base: Any, windows: Any, low: Any, high: Any, widths: Sequence[int]) -> list[Any]:
        """Return the vectors of one window, gathered tap by tap."""
        gathered = self._partials(widths)
        step = self.problem.axes[-1].axis.dilation * self.problem.input_strides[-2]
        with self._taps(T.bind(base), windows) as line, loop(low, high) as tap:
            first = 0
            for v, lanes in enumerate(widths):
                gathered.add(v, load(self.x, line + tap * step + first, lanes))
                first += lanes
        return [gathered[v] for v in range(len(widths))]

    def _partials(self, widths: Sequence[int]) -> Partials:
        return Partials("sum" if self.problem.average else "max", widths, self.target, self.problem.dtype)

    def _store(
        self, values: Sequence[Any], at: Any, counts: Sequence[Any], channel: Any, widths: Sequence[int]
    ) -> None:
        problem, factor, first = self.problem, self._factor(counts), 0
        for value, lanes in zip(values, widths, strict=True):
            scaled = value if factor is None else value * spread(factor, lanes)
            place = (*at, channel + first)
            store_after(problem.epilogue, self.operands, self.y, scaled, place, problem.output_strides, lanes)
            first += lanes

    def _factor(self, counts: Sequence[Any]) -> Any:
        """Return what a sum is multiplied by; None for maxima."""
        if not self.problem.average:
            return None
        if self.problem.divisor:
            return splat(1.0 / self.problem.divisor, "float32", 1)
        known = math.prod(count for count in counts if isinstance(count, int))
        factor = splat(1.0 / known, "float32", 1)
        for count in counts:
            if not isinstance(count, int):
                factor = factor / T.cast(count, "float32")
        return T.bind(factor)
