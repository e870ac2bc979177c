"""Register tiles of matrix-like kernels: so many rows (pixels) by so many vectors of columns (output channels)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prunus.backends.kernels.emit import Memory, Registers, evaluate, load, pieces, store
from prunus.backends.kernels.expression import operation_count
from prunus.backends.kernels.family import Epilogue
from prunus.targets import Target

# Bytes that arrive from the second and the third cache while one vector is multiplied: measured on a Zen 5, where two
# vectors of 64 bytes are multiplied a cycle. Processors that multiply one have twice the time and lose nothing by this.
_NEAR_BYTES = 16.0
_FAR_BYTES = 8.0
# What other data leaves of the second cache.
_NEAR_SHARE = 0.7


@dataclass(frozen=True)
class Columns:
    """Cuts columns into `full` blocks of `vectors` registers and a tail block.

    Attributes:
        count: columns.
        lanes: lanes of a full register.
        vectors: registers of a full block.
        exact: the tail is cut into powers of two and reads nothing beyond the last column; else its last register is
            padded (weights are packed with zeros there) and only stores are exact.
    """

    count: int
    lanes: int
    vectors: int
    exact: bool = False

    @property
    def block(self) -> int:
        return self.lanes * self.vectors

    @property
    def full(self) -> int:
        return self.count // self.block

    @property
    def blocks(self) -> int:
        return -(-self.count // self.block)

    def widths(self, tail: bool) -> tuple[int, ...]:
        """Return the lanes of each register of a block."""
        if not tail:
            return (self.lanes,) * self.vectors
        rest = self.count % self.block
        if self.exact:
            return tuple(lanes for _, lanes in pieces(rest, self.lanes))
        widths = [self.lanes] * (rest // self.lanes)
        if rest % self.lanes:
            widths.append(max(1 << (rest % self.lanes - 1).bit_length(), min(4, self.lanes)))
        return tuple(widths)

    def valid(self, tail: bool) -> int:
        """Return the columns of a block that are no padding."""
        return self.count % self.block if tail else self.block

    def kinds(self) -> list[bool]:
        """Return which blocks exist: False for full ones, True for the tail."""
        return [tail for tail in (False, True) if (self.count % self.block if tail else self.full)]

    def pack(self, rows: np.ndarray) -> np.ndarray:
        """Pack (..., K, count) as blocks [K][block], one after the other, the tail padded with zeros."""
        lead = rows.shape[:-2]
        blocks = [rows[..., i * self.block : (i + 1) * self.block] for i in range(self.full)]
        if self.count % self.block:
            rest = rows[..., self.full * self.block :]
            missing = sum(self.widths(tail=True)) - rest.shape[-1]
            blocks.append(np.pad(rest, [(0, 0)] * (rest.ndim - 1) + [(0, missing)]))
        flat = [np.ascontiguousarray(block).reshape(*lead, -1) for block in blocks]
        return np.concatenate(flat, axis=-1)

    @property
    def padded(self) -> int:
        """Columns with those that pad the tail."""
        return self.full * self.block + (sum(self.widths(tail=True)) if self.count % self.block else 0)


def accumulator_limit(target: Target) -> int:
    """Return how many registers may hold sums: some stay for weights, and for the broadcast where it takes one."""
    return target.vector_registers - (2 if target.vector_registers > 16 else 1)


def rows_that_fit(vectors: int, target: Target) -> int:
    """Return the most rows of a tile with `vectors` registers of columns."""
    return max(1, (accumulator_limit(target) - vectors) // vectors)


def tile_cycles(rows: int, widths: Sequence[int], target: Target) -> float:
    """Estimate cycles that one step of the inner loop takes: multiplies, loads, or the latency of the sums."""
    lanes = target.lanes()
    rate = max(1.0, target.fma_per_cycle / lanes)  # vector multiply-adds a cycle
    loads = 2 if target.architecture == "x86_64" or target.fma_per_cycle >= 8 else 1
    in_order = 0.5 if target.load_bits < target.vector_bits else 0.0
    multiplies = rows * len(widths) / rate
    reads = (rows * (0.25 if target.architecture != "x86_64" else 1.0) + len(widths)) / loads
    # Loads run beside multiplies, but not for nothing: of two tiles that multiply alike the larger one is better.
    return max(multiplies + in_order * reads, reads, 4.0) + 0.04 * reads


def with_weights(cycles: float, fetched: float, held: float, target: Target) -> float:
    """Return the cycles of multiplying and of the weights' arrival: they overlap, and the longer one counts.

    Args:
        cycles: of multiplying.
        fetched: bytes of weights that are read, over all times.
        held: bytes that are read before the first of them is read again: what a cache would have to hold.
    """
    if held < 0.9 * target.cache.l1_bytes:
        return cycles
    rate = max(1.0, target.fma_per_cycle / target.lanes())  # vector multiply-adds a cycle
    near = held < _NEAR_SHARE * target.cache.l2_bytes
    arriving = fetched / rate / (_NEAR_BYTES if near else _FAR_BYTES)
    return max(cycles, arriving)


def parts(blocks: int, rows: int, tile: int, cores: int) -> int:
    """Return into how many equal parts of whole tiles rows are cut, so that all cores have the same to do.

    Three blocks of columns for two cores make two thirds of the time of one, not half.
    """
    tiles = rows // tile if rows % tile == 0 else 1
    shares = [n for n in range(1, tiles + 1) if tiles % n == 0]
    return next((n for n in shares if blocks * n % cores == 0 or blocks * n >= 4 * cores), 1)


def finish(
    sums: Registers,
    index: int,
    valid: int,
    epilogue: Epilogue,
    operands: Sequence[Memory],
    output: Memory,
    place: Callable[[Sequence[int], int], Any],
    output_strides: tuple[int, ...],
    width: int,
) -> None:
    """Apply the epilogue to one register and store its first `valid` lanes.

    Args:
        place: returns the address for strides at a given first lane of this register; the last stride is the column's.
    """
    for start, lanes in pieces(valid, width):

        def read(operand: int, lanes: int, start: int = start) -> Any:
            layout = epilogue.operands[operand]
            return load(operands[operand], place(layout.strides, start), lanes, layout.strides[-1])

        value = evaluate(epilogue.expression, lanes, sums.part(index, start, lanes), read)
        store(output, place(output_strides, start), value, lanes, output_strides[-1])


def epilogue_cycles(epilogue: Epilogue, elements: int, target: Target) -> float:
    """Estimate cycles of the epilogue: its operations, a load for each operand, a store."""
    rate = max(1.0, target.fma_per_cycle / target.lanes())
    work = operation_count(epilogue.expression) / rate + 0.5 * len(epilogue.operands) + 1
    return elements / target.lanes() * work
