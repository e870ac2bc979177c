"""One axis of a pooling window: sliding, or of a size that follows from the output's (adaptive)."""

from dataclasses import dataclass
from typing import Any

from prunus.backends.kernels.tir import T
from prunus.backends.kernels.window import Axis, Phase


@dataclass(frozen=True)
class PoolAxis:
    """Static description of one axis.

    Attributes:
        axis: sizes, and the window where it slides.
        adaptive: window q of n over `size` elements covers floor(q size / n) to ceil((q + 1) size / n).
        counts_padding: averages count the padding that a window covers, as zeros.
    """

    axis: Axis
    adaptive: bool = False
    counts_padding: bool = False

    @property
    def outputs(self) -> int:
        return self.axis.output_size

    @property
    def phase(self) -> Phase:
        (phase,) = self.axis.phases()
        return phase

    @property
    def free(self) -> bool:
        """Each output is one input, in order."""
        axis = self.axis
        return axis.kernel == axis.stride == 1 and axis.padding == 0 and axis.input_size == axis.output_size

    def window(self, q: Any) -> tuple[Any, Any, Any]:
        """Return the input under tap 0 of window q, and begin and end of the taps that land inside."""
        axis = self.axis
        if self.adaptive:
            start, end = q * axis.input_size // axis.output_size, self._adaptive_end(q)
            return T.bind(start), 0, T.bind(end - start)
        return (q * axis.stride - axis.padding, *self.phase.bounds(q))

    def count(self, q: int) -> int:
        """Return how many elements an average divides window q by."""
        axis = self.axis
        if self.adaptive:
            return int(self._adaptive_end(q)) - q * axis.input_size // axis.output_size
        if self.counts_padding:
            start = q * axis.stride - axis.padding
            return min(start + axis.kernel, axis.input_size + axis.padding) - start
        return len(self.phase.valid(q))

    def count_at(self, q: Any, low: Any, high: Any) -> Any:
        """Return `count` of a window that is known at run time only, a number where it is the same for all."""
        counts = {self.count(other) for other in range(self.outputs)}
        if len(counts) == 1:
            return counts.pop()
        if self.counts_padding:
            start = q * self.axis.stride - self.axis.padding
            return T.min(start + self.axis.kernel, self.axis.input_size + self.axis.padding) - start
        return high - low

    def reads(self) -> int:
        """Count the (output, tap) pairs that read an input."""
        if self.adaptive:
            return sum(self.count(q) for q in range(self.outputs))
        return self.axis.macs()

    def _adaptive_end(self, q: Any) -> Any:
        size, outputs = self.axis.input_size, self.axis.output_size
        return (q * size + (size + outputs - 1)) // outputs
