"""From registers of integer sums to memory: which are converted together, and how much of the result is stored."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from prunus.backends.kernels.emit import Index, Memory, Vector, load, pieces
from prunus.backends.kernels.family import Epilogue
from prunus.backends.kernels.masked import has_masks
from prunus.backends.kernels.requantize import Requantize, convert, convert_registers
from prunus.backends.kernels.tir import T
from prunus.backends.kernels.vector_math import join, part
from prunus.targets import Target

# Registers of int32 that narrow into one of int8.
_REGISTERS = 4


@dataclass(frozen=True)
class Group:
    """Neighbouring columns whose sums are converted together.

    Attributes:
        first: the first column.
        parts: (register, first lane, lanes) side by side.
        lanes: of the result.
        valid: lanes of the result that are stored.
        packed: whole registers, narrowed by `convert_registers`.
    """

    first: int
    parts: tuple[tuple[int, int, int], ...]
    lanes: int
    valid: int
    packed: bool = False

    @property
    def widths(self) -> list[int]:
        """Lanes of the parts."""
        return [lanes for _, _, lanes in self.parts]

    def load_scales(self, scale: Memory, at: Index) -> list[Vector]:
        """Load the scales of its columns, the first of all columns' being `at`."""
        widths = self.widths if self.packed else [self.lanes]
        starts = [sum(widths[:part]) for part in range(len(widths))]
        return [
            T.bind(load(scale, at + self.first + start, lanes)) for start, lanes in zip(starts, widths, strict=True)
        ]

    def convert(
        self, totals: Sequence[Vector], scales: Sequence[Vector], requantize: Requantize | None, target: Target
    ) -> Vector:
        """Return the sums of its parts as float32 or back in int8."""
        if self.packed and requantize is not None:
            return convert_registers(totals, scales, self.widths, requantize, target)
        return convert(join(totals, self.lanes), scales[0], requantize, self.lanes, target)

    def stores(self, value: Vector, epilogue: Epilogue, target: Target) -> Iterator[tuple[int, Vector, int, int]]:
        """Yield (first column, vector, lanes, valid lanes) of what is stored at once."""
        strides = {operand.strides[-1] for operand in epilogue.operands}
        if self.valid == self.lanes or (has_masks(target) and strides <= {0, 1}):
            yield self.first, value, self.lanes, self.valid
            return
        for start, lanes in pieces(self.valid, self.lanes):
            yield self.first + start, part(value, start, lanes), lanes, lanes


def groups(widths: Sequence[int], valid: int, target: Target, *, narrows: bool) -> Iterator[Group]:
    """Yield how the first `valid` columns are converted and stored: up to four registers together.

    Args:
        widths: lanes of the registers; the last may be narrower.
        narrows: results are int8.
    """
    starts = [sum(widths[:v]) for v in range(len(widths))]
    if narrows and target.architecture == "x86_64":
        for v in range(0, len(widths), _REGISTERS):
            together = widths[v : v + _REGISTERS]
            count = _REGISTERS if len(together) == _REGISTERS - 1 else len(together)
            parts = tuple((v + i, 0, width) for i, width in enumerate(together))
            yield Group(starts[v], parts, count * together[0], min(valid - starts[v], sum(together)), packed=True)
        return
    full = sum(start + width <= valid for start, width in zip(starts, widths, strict=True))
    even = full if narrows and len(set(widths[:full])) == 1 else 0
    for v, count in pieces(even, _REGISTERS):
        lanes = count * widths[0]
        yield Group(starts[v], tuple((v + i, 0, widths[0]) for i in range(count)), lanes, lanes)
    for v in range(even, len(widths)):
        for start, lanes in pieces(min(widths[v], valid - starts[v]), widths[v]):
            yield Group(starts[v] + start, ((v, start, lanes),), lanes, lanes)
