"""The order in which ways of computing are tried: speed first, and size where speed is much the same."""

from collections.abc import Callable, Iterable
from typing import TypeVar

K = TypeVar("K")

# Of an instruction, on average, for estimates of size.
INSTRUCTION_BYTES = 6.0
# What saving a share of a layer's bytes is worth: of ten percent, half a percent of its cycles.
_WORTH = 0.05


def ranked(knobs: Iterable[K], cycles: Callable[[K], float], size: Callable[[K], float]) -> list[K]:
    """Order knobs, best guess first.

    Args:
        cycles: estimated cycles.
        size: estimated bytes of code and weights. Where weights are large, code does not count.
    """
    return sorted(knobs, key=lambda knob: cycles(knob) * size(knob) ** _WORTH)
