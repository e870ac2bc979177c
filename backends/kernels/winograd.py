"""Winograd's minimal filtering F(2x2, 3x3) for direct convolution: 16 multiplications where 36 would be needed.

Four by four inputs become V = B^T d B, three by three weights become U = G g G^T when they are packed; their products
are summed over the channels, and M becomes two by two outputs Y = A^T M A. (Lavin and Gray, 2016, "Fast algorithms for
convolutional neural networks", section 4.1.) Transformed weights take 16/9 of the bytes; sums differ in rounding.

One unit is some rows of tiles of one block of output channels. Each thread keeps V of the rows that it works on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from prunus.backends.kernels.emit import Memory, Registers, address, bind, kernel, load, loop, spans, split, store, when
from prunus.backends.kernels.tiling import Columns, epilogue_cycles, finish, rows_that_fit, tile_cycles
from prunus.backends.kernels.tir import T
from prunus.backends.kernels.vector_math import splat
from prunus.targets import Target

if TYPE_CHECKING:
    from prunus.backends.kernels.convolution import Convolution

_POSITIONS = 16
_WEIGHTS = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
# Fewer channels than this and the transforms cost more than the products save.
_LEAST_CHANNELS = 8
# Tiles of a unit: enough to use weights more than once, few enough for V and M to stay in the second cache.
_TILES = (4, 128)


@dataclass(frozen=True)
class WinogradKnob:
    """Way of computing: products of `tiles` by `vectors` registers of `lanes`; `rows` of tiles are one unit."""

    lanes: int
    tiles: int
    vectors: int
    rows: int


def knobs(problem: "Convolution", target: Target) -> list[WinogradKnob]:
    """Return the legal ways of computing a convolution so, none where it cannot be."""
    axes = (problem.rows, problem.columns)
    fits = all(a.kernel == 3 and a.stride == a.dilation == 1 and not a.transposed for a in axes)
    few = min(problem.in_channels, problem.out_channels) < _LEAST_CHANNELS
    if not fits or few or problem.groups > 1 or problem.input_strides[3] != 1:
        return []
    rows, columns = (-(-axis.output_size // 2) for axis in axes)
    heights = [height for height in range(1, rows + 1) if rows % height == 0]
    heights = [height for height in heights if _TILES[0] <= height * columns <= _TILES[1]]
    lanes = target.lanes()
    found: dict[WinogradKnob, None] = {}
    for vectors in range(1, 1 + min(6, -(-problem.out_channels // lanes))):
        for height in heights:
            count = -(-height * columns // rows_that_fit(vectors, target))
            found[WinogradKnob(lanes, -(-height * columns // count), vectors, height)] = None
    return list(found)


def pack(problem: "Convolution", knob: WinogradKnob, weight: np.ndarray) -> np.ndarray:
    """Return U as the kernel reads it: by blocks of output channels, positions, input channels."""
    # One product with the Kronecker product of G with itself, in double precision.
    transformed = np.kron(_WEIGHTS, _WEIGHTS) @ weight.reshape(-1, 9).T.astype(np.float64)
    by_output = transformed.astype(np.float32).reshape(_POSITIONS, problem.out_channels, problem.in_channels)
    return columns_of(problem, knob).pack(by_output.transpose(0, 2, 1).reshape(-1, problem.out_channels))


def columns_of(problem: "Convolution", knob: WinogradKnob) -> Columns:
    """Return the blocks of output channels."""
    return Columns(problem.out_channels, knob.lanes, knob.vectors)


def units(problem: "Convolution", knob: WinogradKnob) -> int:
    """Return the number of units."""
    return problem.batch * _groups(problem, knob) * columns_of(problem, knob).blocks


def scratch_bytes(problem: "Convolution", knob: WinogradKnob) -> int:
    """Return bytes for V and for M of one block."""
    widest = max(sum(columns_of(problem, knob).widths(tail)) for tail in columns_of(problem, knob).kinds())
    return 4 * _POSITIONS * _tiles(problem, knob) * (problem.in_channels + widest)


def estimate(problem: "Convolution", knob: WinogradKnob, target: Target) -> float:
    """Return estimated cycles of one core."""
    columns, tiles, cycles = columns_of(problem, knob), _tiles(problem, knob), 0.0
    full, rest = divmod(tiles, knob.tiles)
    for tail in columns.kinds():
        widths = columns.widths(tail)
        step = full * tile_cycles(knob.tiles, widths, target) + (tile_cycles(rest, widths, target) if rest else 0)
        products = _POSITIONS * (step * problem.in_channels + 2 * tiles * len(widths))
        cycles += (products + 60 * tiles * len(widths)) * (1 if tail else columns.full)
    transform = 80 * tiles * problem.in_channels / knob.lanes
    elements = problem.batch * problem.out_channels * problem.rows.output_size * problem.columns.output_size
    total = (cycles + transform) * problem.batch * _groups(problem, knob)
    return total + epilogue_cycles(problem.epilogue, elements, target)


def emit(problem: "Convolution", knob: WinogradKnob, target: Target) -> Any:
    """Return the TIR function."""
    dtypes = ["float32", "float32", *(["float32"] if problem.bias else [])]
    dtypes += [*(operand.dtype for operand in problem.epilogue.operands), problem.epilogue.dtype, "float32"]
    return kernel(target, dtypes, lambda memories, begin, end: _Emitter(problem, knob, memories).run(begin, end))


def _tile_columns(problem: "Convolution") -> int:
    return -(-problem.columns.output_size // 2)


def _tiles(problem: "Convolution", knob: WinogradKnob) -> int:
    """Return the tiles of one unit."""
    return knob.rows * _tile_columns(problem)


def _groups(problem: "Convolution", knob: WinogradKnob) -> int:
    return -(-problem.rows.output_size // 2) // knob.rows


class _Emitter:
    """Writes the loops of one convolution."""

    def __init__(self, problem: "Convolution", knob: WinogradKnob, memories: list[Memory]) -> None:
        self.problem, self.knob = problem, knob
        self.channels, self.tiles = columns_of(problem, knob), _tiles(problem, knob)
        self.x, self.u = memories[0], memories[1]
        self.b = memories[2] if problem.bias else None
        self.operands, self.y, self.scratch = memories[2 + problem.bias : -2], memories[-2], memories[-1]
        self.start_of_m = _POSITIONS * self.tiles * problem.in_channels

    def run(self, begin: Any, end: Any) -> None:
        problem = self.problem
        with T.serial(begin, end) as unit:
            n, group, block = split(unit, (problem.batch, _groups(problem, self.knob), self.channels.blocks))
            # V is there already unless this is the first block, or the first unit of this call.
            with when((unit - begin) * block == 0), loop(0, self.tiles) as tile:
                self._transform_input(n, group, tile)
            kinds = self.channels.kinds()
            for tail in kinds:
                condition = block >= self.channels.full if tail else block < self.channels.full
                with when(True if len(kinds) == 1 else condition):
                    self._block(n, group, block, tail)

    def _place(self, group: Any, tile: Any) -> tuple[Any, Any]:
        """Return the first output row and column of a tile."""
        row, column = split(tile, (self.knob.rows, _tile_columns(self.problem)))
        return T.bind((group * self.knob.rows + row) * 2), T.bind(column * 2)

    # V

    def _transform_input(self, n: Any, group: Any, tile: Any) -> None:
        problem = self.problem
        rows, columns = problem.rows, problem.columns
        row, column = self._place(group, tile)
        top, left = T.bind(row - rows.padding), T.bind(column - columns.padding)
        corner = T.bind(address((n, top, left), problem.input_strides[:3]))
        clean = rows.padding == columns.padding == 0 and rows.output_size % 2 == columns.output_size % 2 == 0
        if clean:
            self._transform_channels(tile, corner, None)
            return
        inside = (top >= 0, left >= 0, top + 4 <= rows.input_size, left + 4 <= columns.input_size)
        with T.If(T.And(T.And(inside[0], inside[1]), T.And(inside[2], inside[3]))):
            with T.Then():
                self._transform_channels(tile, corner, None)
            with T.Else():
                self._transform_channels(tile, corner, (top, left))

    def _transform_channels(self, tile: Any, corner: Any, place: tuple[Any, Any] | None) -> None:
        channels, (_, row_step, column_step, _) = self.problem.in_channels, self.problem.input_strides
        for c, lanes in spans(channels, self.knob.lanes):
            patch = Registers(16, lanes)
            for i in range(4):
                for j in range(4):
                    at = corner + (i * row_step + j * column_step) + c
                    if place is None:
                        patch[4 * i + j] = load(self.x, at, lanes)
                        continue
                    patch[4 * i + j] = splat(0.0, "float32", lanes)
                    with when(self._inside(place[0] + i, place[1] + j)):
                        patch[4 * i + j] = load(self.x, at, lanes)
            columns = [_input([patch[4 * i + j] for i in range(4)], lanes) for j in range(4)]
            for i in range(4):
                for j, value in enumerate(_input([columns[j][i] for j in range(4)], lanes)):
                    store(self.scratch, ((4 * i + j) * self.tiles + tile) * channels + c, value, lanes)

    def _inside(self, row: Any, column: Any) -> Any:
        rows, columns = self.problem.rows.input_size, self.problem.columns.input_size
        return T.And(T.And(row >= 0, row < rows), T.And(column >= 0, column < columns))

    # M and Y

    def _block(self, n: Any, group: Any, block: Any, tail: bool) -> None:
        widths = self.channels.widths(tail)
        full, rest = divmod(self.tiles, self.knob.tiles)
        with loop(0, _POSITIONS) as position:
            with loop(0, full) as index:
                self._product(position, index * self.knob.tiles, self.knob.tiles, block, widths)
            if rest:
                self._product(position, full * self.knob.tiles, rest, block, widths)
        with loop(0, self.tiles) as tile:
            self._transform_output(n, group, tile, block, tail)

    def _product(self, position: Any, tile: Any, count: int, block: Any, widths: Sequence[int]) -> None:
        """Compute M of one position, for some tiles and all registers of a block."""
        inner, vectors, width = self.problem.in_channels, len(widths), sum(widths)
        starts = [sum(widths[:v]) for v in range(vectors)]
        sums = Registers(count * vectors, list(widths) * count)
        for p in range(count):
            for v in range(vectors):
                sums[p * vectors + v] = splat(0.0, "float32", widths[v])
        left = T.bind((position * self.tiles + tile) * inner)
        right = T.bind(block * (self.channels.block * _POSITIONS * inner) + position * (inner * width))
        with loop(0, inner) as k:
            weights = [T.bind(load(self.u, right + k * width + starts[v], widths[v])) for v in range(vectors)]
            for p in range(count):
                x = load(self.scratch, left + (p * inner) + k)
                for v in range(vectors):
                    wide, kind = T.broadcast(x, widths[v]), f"float32x{widths[v]}"
                    old = sums[p * vectors + v]
                    sums[p * vectors + v] = T.call_llvm_pure_intrin(kind, "llvm.fmuladd", wide, weights[v], old)
        to = T.bind((position * self.tiles + tile) * width + self.start_of_m)
        for p in range(count):
            for v in range(vectors):
                store(self.scratch, to + (p * width + starts[v]), sums[p * vectors + v], widths[v])

    def _transform_output(self, n: Any, group: Any, tile: Any, block: Any, tail: bool) -> None:
        problem, widths = self.problem, self.channels.widths(tail)
        row, column = self._place(group, tile)
        first = T.bind(block * self.channels.block)
        last = self.channels.valid(tail)
        start = 0
        for width in widths:
            m = [
                load(self.scratch, (position * self.tiles + tile) * sum(widths) + (self.start_of_m + start), width)
                for position in range(_POSITIONS)
            ]
            columns = [_output([m[4 * i + j] for i in range(4)], width) for j in range(4)]
            rows = [_output([columns[j][i] for j in range(4)], width) for i in range(2)]
            bias = None if self.b is None else T.bind(load(self.b, first + start, width))
            results = Registers(4, width)
            for index in range(4):
                value = rows[index // 2][index % 2]
                results[index] = value if bias is None else value + bias
            for index in range(4):
                i, j = divmod(index, 2)
                down = self._exists(row, i, problem.rows.output_size)
                across = self._exists(column, j, problem.columns.output_size)

                def place(strides: Sequence[int], lane: int, i: int = i, j: int = j, start: int = start) -> Any:
                    return address((n, row + i, column + j, first + (start + lane)), strides)

                with when(down), when(across):
                    finish(
                        results, index, min(width, last - start), problem.epilogue, self.operands, self.y, place,
                        problem.output_strides, width,
                    )  # fmt: skip
            start += width

    def _exists(self, first: Any, offset: int, size: int) -> Any:
        """Tell whether the second output of a tile exists: the last tile of an odd size has one only."""
        return True if offset == 0 or size % 2 == 0 else first + offset < size


def _input(d: Sequence[Any], lanes: int) -> list[Any]:
    """Return B^T d."""
    return [bind(value, "float32", lanes) for value in (d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3])]


def _output(m: Sequence[Any], lanes: int) -> list[Any]:
    """Return A^T m."""
    return [bind(value, "float32", lanes) for value in (m[0] + m[1] + m[2], m[1] - m[2] - m[3])]
