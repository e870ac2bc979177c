"""Paddings of sliding windows, shared by convolution and pooling."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prunus.frontend.onnx.table import Operation


@dataclass(frozen=True)
class Window:
    """A sliding window over the spatial dimensions, one number for each of them."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]

    @property
    def symmetric(self) -> bool:
        """Tell whether both ends are padded alike, by nothing negative."""
        return self.begin == self.end and all(pad >= 0 for pad in self.begin)

    def torch_padding(self, extra: tuple[int, ...] | None = None) -> list[int]:
        """Return `begin` and `end` (plus `extra`) in PyTorch's order, last dimension first."""
        ends = [end + more for end, more in zip(self.end, extra or (0,) * len(self.end), strict=True)]
        return [pad for pair in reversed(list(zip(self.begin, ends, strict=True))) for pad in pair]


def window(op: Operation, sizes: tuple[int, ...], kernel: tuple[int, ...]) -> Window:
    """Return the window of a convolution or pooling.

    Args:
        sizes: spatial sizes of the input.
        kernel: sizes of the kernel.
    """
    rank = len(sizes)
    stride = tuple(op.attribute("strides") or (1,) * rank)
    dilation = tuple(op.attribute("dilations") or (1,) * rank)
    pads = tuple(op.attribute("pads") or (0,) * (2 * rank))
    auto = op.attribute("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        totals = [
            max((math.ceil(size / step) - 1) * step + (width - 1) * spread + 1 - size, 0)
            for size, step, width, spread in zip(sizes, stride, kernel, dilation, strict=True)
        ]
        smaller, larger = tuple(total // 2 for total in totals), tuple(total - total // 2 for total in totals)
        begin, end = (smaller, larger) if auto == "SAME_UPPER" else (larger, smaller)
    elif auto == "VALID":
        begin = end = (0,) * rank
    else:
        begin, end = pads[:rank], pads[rank:]
    return Window(kernel, stride, dilation, begin, end)


def by_rank(op: Operation, table: Mapping[int, Any], rank: int) -> Any:
    """Return the PyTorch operator for `rank` spatial dimensions.

    Raises:
        ImportModelError: there is none.
    """
    if rank not in table:
        raise op.refuse(f"{rank} spatial dimensions, of 1 to 3")
    return table[rank]
