"""Input lines of an integer convolution, copied into scratch: padded with the zero point, signs flipped where needed.

A line stays in its slot while the output rows that read it pass by, so each is copied once where rows follow each
other. Where lines are too long for the cache, output columns are cut into segments, and each has its lines copied anew.
"""

from dataclasses import dataclass
from typing import Any

from prunus.backends.kernels.emit import Index, Memory, Vector, load, loop, spans, store
from prunus.backends.kernels.tir import T
from prunus.backends.kernels.vector_math import splat
from prunus.backends.kernels.window import Axis
from prunus.targets import Target


@dataclass(frozen=True)
class Lines:
    """What of the input a segment of one output row reads, for one group of channels.

    Attributes:
        rows, columns: the convolution's axes.
        channels: neighbours in memory that count; `row_stride` and `column_stride` are the input's, in elements.
        segment: output columns.
        zero_point: what a padded element is.
        flips: the sign bit of every element is flipped.
        outside: lines above and below the input are read, too: they hold the zero point.
    """

    rows: Axis
    columns: Axis
    channels: int
    row_stride: int
    column_stride: int
    segment: int
    zero_point: int
    flips: bool
    outside: bool

    @property
    def segments(self) -> int:
        """Segments of an output row."""
        return -(-self.columns.output_size // self.segment)

    @property
    def line_bytes(self) -> int:
        """Bytes of one line: its pixels lie side by side."""
        pixels = (self.segment - 1) * self.columns.stride + (self.columns.kernel - 1) * self.columns.dilation + 1
        return pixels * self.channels

    @property
    def size_bytes(self) -> int:
        """Bytes of scratch."""
        return self.rows.kernel * self.line_bytes

    @property
    def stays(self) -> bool:
        """Whether lines keep their slots from one output row to the next."""
        return self.rows.dilation == 1 and self.segments == 1

    def slot(self, line: Index, tap: Index) -> Index:
        """Return where the input's line that a kernel row reads lies in scratch."""
        # Lines above the input count from zero, too.
        number = T.truncmod(line + self.rows.padding, self.rows.kernel) if self.stays and self.rows.kernel > 1 else tap
        return number * self.line_bytes

    def fill(
        self, x: Memory, scratch: Memory, place: Index, row: Index, segment: Index, bounds: tuple[Index, Index],
        follows: Any, target: Target,
    ) -> None:  # fmt: skip
        """Copy the lines of an output row.

        Args:
            place: the input's first element of this sample and group.
            bounds: kernel rows that are read.
            follows: condition: the lines of the output row above are there.
        """
        (rows,) = self.rows.phases()
        low, high = bounds
        old = max(0, self.rows.kernel - self.rows.stride)
        if self.stays and old:
            low = T.bind(T.if_then_else(follows, T.max(low, old), low))
        with loop(low, high) as tap:
            line = T.bind(row * rows.input_step + rows.taps.offset(tap))
            source, slot = T.bind(place + line * self.row_stride), T.bind(self.slot(line, tap))
            if not self.outside:
                self._copy(x, scratch, source, slot, segment, target)
            else:
                with T.If(T.And(line >= 0, line < self.rows.input_size)):
                    with T.Then():
                        self._copy(x, scratch, source, slot, segment, target)
                    with T.Else():
                        self._pad(scratch, slot, self.line_bytes, target)

    def _copy(self, x: Memory, scratch: Memory, source: Index, slot: Index, segment: Index, target: Target) -> None:
        if self.segments == 1:
            self._copy_line(x, scratch, source, slot, target)
        else:
            self._copy_segment(x, scratch, source, slot, segment, target)

    def _pad(self, scratch: Memory, slot: Index, count: int, target: Target) -> None:
        for place, lanes in spans(count, target.lanes(8)):
            store(scratch, slot + place, self._padding(lanes), lanes)

    def _copy_line(self, x: Memory, scratch: Memory, source: Index, slot: Index, target: Target) -> None:
        """Copy a whole line; where its padding begins and ends is known."""
        first, pixels = -self.columns.padding, self.line_bytes // self.channels
        begin = min(max(0, -first), pixels)
        end = max(begin, min(pixels, self.columns.input_size - first))
        for start, stop in ((0, begin), (end, pixels)):
            self._pad(scratch, slot + start * self.channels, (stop - start) * self.channels, target)
        dense = self.column_stride == self.channels
        count, size = (1, (end - begin) * self.channels) if dense else (end - begin, self.channels)
        with loop(0, count) as pixel:
            before = source + (begin + first + pixel) * self.column_stride
            after = slot + (begin + pixel) * self.channels
            for place, lanes in spans(size, target.lanes(8)):
                store(scratch, after + place, self._flipped(load(x, before + place, lanes), lanes), lanes)

    def _copy_segment(
        self, x: Memory, scratch: Memory, source: Index, slot: Index, segment: Index, target: Target
    ) -> None:
        """Copy a part of a line, pixel by pixel."""
        first = T.bind(segment * (self.segment * self.columns.stride) - self.columns.padding)
        with loop(0, self.line_bytes // self.channels) as pixel:
            column = T.bind(first + pixel)
            inside = T.And(column >= 0, column < self.columns.input_size)
            for place, lanes in spans(self.channels, target.lanes(8)):
                value = self._flipped(load(x, source + column * self.column_stride + place, lanes), lanes)
                value = T.if_then_else(inside, value, self._padding(lanes))
                store(scratch, slot + pixel * self.channels + place, value, lanes)

    def _flipped(self, value: Vector, lanes: int) -> Vector:
        return T.bind(value ^ splat(-128, "int8", lanes)) if self.flips else value

    def _padding(self, lanes: int) -> Vector:
        return splat(self.zero_point ^ -128 if self.flips else self.zero_point, "int8", lanes)
