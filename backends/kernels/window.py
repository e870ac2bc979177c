"""One axis of a sliding window: which inputs an output reads through which kernel taps.

Convolution, transposed convolution, depthwise convolution and pooling are loops over such axes. Padding is never
materialised: taps that fall outside are left out, by loop bounds along rows and by unrolled border tiles along columns.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from prunus.backends.kernels.tir import T


@dataclass(frozen=True)
class Axis:
    """Static description of one axis.

    Attributes:
        input_size, output_size, kernel: extents.
        stride, dilation: as PyTorch defines them.
        padding: elements in front; those behind follow from the sizes.
        transposed: the axis of a transposed convolution.
    """

    input_size: int
    output_size: int
    kernel: int
    stride: int = 1
    dilation: int = 1
    padding: int = 0
    transposed: bool = False

    def phases(self) -> list["Phase"]:
        """Return the runs of outputs whose inputs lie on a line: one for each residue of a transposed stride."""
        if not self.transposed:
            taps = Taps(self.kernel, 0, 1, -self.padding, self.dilation)
            return [Phase(self.output_size, 0, 1, self.stride, self.input_size, taps)]
        return [self._transposed_phase(residue) for residue in range(min(self.stride, self.output_size))]

    def _transposed_phase(self, residue: int) -> "Phase":
        """Output q * stride + residue reads inputs where tap * dilation = residue + padding, modulo the stride."""
        outputs = (self.output_size - residue + self.stride - 1) // self.stride
        shift = residue + self.padding
        hits = [tap for tap in range(self.kernel) if (shift - tap * self.dilation) % self.stride == 0]
        if not hits:
            return Phase(outputs, residue, self.stride, 1, self.input_size, Taps(0, 0, 1, 0, 1))
        step = self.stride // math.gcd(self.stride, self.dilation)
        first = (shift - hits[0] * self.dilation) // self.stride
        taps = Taps(len(hits), hits[0], step, first, -step * self.dilation // self.stride)
        return Phase(outputs, residue, self.stride, 1, self.input_size, taps)

    @lru_cache(maxsize=4096)  # noqa: B019
    def macs(self) -> int:
        """Count the (output, tap) pairs that read an input."""
        return sum(len(phase.valid(q)) for phase in self.phases() for q in range(phase.outputs))


@dataclass(frozen=True)
class Taps:
    """Taps `first_tap + i * tap_step`, read at offsets `first_offset + i * offset_step`, for i in 0..count."""

    count: int
    first_tap: int
    tap_step: int
    first_offset: int
    offset_step: int

    def tap(self, i: Any) -> Any:
        return self.first_tap + i * self.tap_step

    def offset(self, i: Any) -> Any:
        return self.first_offset + i * self.offset_step


@dataclass(frozen=True)
class Phase:
    """Outputs `first_output + q * output_step` for q in 0..outputs; output q reads inputs `q * input_step + offset`."""

    outputs: int
    first_output: int
    output_step: int
    input_step: int
    input_size: int
    taps: Taps

    def output(self, q: Any) -> Any:
        return self.first_output + q * self.output_step

    def valid(self, q: int) -> list[int]:
        """Return the i whose tap lands inside the input for output q."""
        return [i for i in range(self.taps.count) if 0 <= q * self.input_step + self.taps.offset(i) < self.input_size]

    @lru_cache(maxsize=4096)  # noqa: B019 - phases are small values
    def clean(self) -> tuple[int, int]:
        """Return the range of q in which every tap lands inside."""
        inside = [q for q in range(self.outputs) if len(self.valid(q)) == self.taps.count]
        return (inside[0], inside[-1] + 1) if inside else (0, 0)

    def bounds(self, q: Any) -> tuple[Any, Any]:
        """Return begin and end of the i that land inside, as TIR expressions of the variable q."""
        begin, end = self.clean()
        if (begin, end) == (0, self.outputs):
            return 0, self.taps.count
        base, step = q * self.input_step + self.taps.first_offset, self.taps.offset_step
        if step > 0:
            low, high = _ceil_div(0 - base, step), _ceil_div(self.input_size - base, step)
        else:
            low, high = (base - self.input_size) // -step + 1, base // -step + 1
        return T.bind(T.max(low, 0)), T.bind(T.min(high, self.taps.count))

    @lru_cache(maxsize=4096)  # noqa: B019
    def sections(self) -> tuple[int, ...]:
        """Return the first q of each run of outputs for which the same taps land inside."""
        return tuple(q for q in range(self.outputs) if q == 0 or self.valid(q) != self.valid(q - 1))

    def section(self, q: Any) -> Any:
        """Return the number of the run that q is in, as a TIR expression of the variable q."""
        return sum(T.if_then_else(q >= first, 1, 0) for first in self.sections()[1:])

    @lru_cache(maxsize=4096)  # noqa: B019
    def tiles(self, width: int) -> tuple["Tile", ...]:
        """Cut the outputs into tiles of at most `width`, equal ones inside joined to one run."""
        return tuple(self._tiles(width))

    def _tiles(self, width: int) -> Iterator["Tile"]:
        if self.outputs == 0:
            return
        count = -(-self.outputs // width)
        width = -(-self.outputs // count)
        begin, end = self.clean()
        first = -(-begin // width)
        last = max(first, end // width)
        for index in range(first):
            yield self._tile(index * width, width)
        if last > first:
            yield Tile(first * width, width, last - first, ())
        for index in range(last, count):
            yield self._tile(index * width, width)

    def readers(self, tile: "Tile") -> dict[int, list[tuple[int, int]]]:
        """Return for each input, counted from the tile's first, the (output, tap) pairs that read it."""
        found: dict[int, list[tuple[int, int]]] = {}
        for j in range(self.taps.count):
            for p in tile.served(j):
                found.setdefault(p * self.input_step + j * self.taps.offset_step, []).append((p, j))
        return dict(sorted(found.items()))

    def _tile(self, start: int, width: int) -> "Tile":
        width = min(width, self.outputs - start)
        masks = tuple(tuple(p for p in range(width) if i in self.valid(start + p)) for i in range(self.taps.count))
        if all(len(mask) == width for mask in masks):
            return Tile(start, width, 1, ())
        return Tile(start, width, 1, masks)


@dataclass(frozen=True)
class Tile:
    """`repeats` neighbouring tiles of `width` outputs from `start`.

    `masks` is empty where all taps land inside for all outputs; else it holds the outputs that each tap serves.
    """

    start: int
    width: int
    repeats: int
    masks: tuple[tuple[int, ...], ...]

    def served(self, i: int) -> tuple[int, ...]:
        """Return the outputs of the tile that tap i serves."""
        return self.masks[i] if self.masks else tuple(range(self.width))


def _ceil_div(a: Any, b: int) -> Any:
    return a if b == 1 else (a + (b - 1)) // b
