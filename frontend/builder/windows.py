"""Sliding windows: convolution and pooling as PyTorch states them, whatever the padding."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from prunus.errors import ImportModelError
from prunus.frontend.builder.graph_builder import GraphBuilder
from prunus.frontend.builder.values import Value, dtype_of, rank_of, shape_of
from prunus.passes.graph import aten

_CONVOLUTIONS = {1: aten.conv1d.default, 2: aten.conv2d.default, 3: aten.conv3d.default}
_TRANSPOSED = {1: aten.conv_transpose1d.default, 2: aten.conv_transpose2d.input, 3: aten.conv_transpose3d.input}
_MAX = {1: aten.max_pool1d.default, 2: aten.max_pool2d.default, 3: aten.max_pool3d.default}
_AVERAGE = {1: aten.avg_pool1d.default, 2: aten.avg_pool2d.default, 3: aten.avg_pool3d.default}


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


def same_totals(
    sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[int]:
    """Return how much padding, begin and end together, makes the output ceil(size / stride) long."""
    return [
        max((math.ceil(size / step) - 1) * step + (width - 1) * spread + 1 - size, 0)
        for size, step, width, spread in zip(sizes, stride, kernel, dilation, strict=True)
    ]


def convolution(
    build: GraphBuilder, x: Value, weight: Value, bias: Value | None, window: Window, groups: int = 1
) -> Value:
    """Return a convolution; where the two ends are padded differently, padding becomes a node of its own.

    Args:
        x: [batch, channels, *sizes].
        weight: [filters, channels / groups, *kernel].
        bias: [filters].

    Raises:
        ImportModelError: more than three spatial dimensions.
    """
    target, padding = _by_rank(_CONVOLUTIONS, x), list(window.begin)
    if not window.symmetric:
        x = build.call(aten.constant_pad_nd.default, x, window.torch_padding(), 0.0)
        padding = [0] * len(padding)
    return build.call(
        target, x, build.parameter(weight), build.parameter(bias, "bias"), list(window.stride), padding,
        list(window.dilation), groups,
    )  # fmt: skip


def transposed_convolution(
    build: GraphBuilder,
    x: Value,
    weight: Value,
    bias: Value | None,
    window: Window,
    output_padding: Sequence[int],
    groups: int = 1,
) -> Value:
    """Return a transposed convolution whose full output is cut by the window's begin and end.

    Cuts that PyTorch cannot state (the ends differ by more than its output padding) become a node of their own.

    Args:
        x: [batch, channels, *sizes].
        weight: [channels, filters / groups, *kernel].
        bias: [filters].
        output_padding: what the full output is longer by, at the end.

    Raises:
        ImportModelError: more than three spatial dimensions.
    """
    rank = len(window.kernel)
    output_padding, cuts, padding = list(output_padding), [(0, 0)] * rank, [0] * rank
    for axis in range(rank):
        more = output_padding[axis] + window.begin[axis] - window.end[axis]
        if window.begin[axis] >= 0 and 0 <= more < max(window.stride[axis], window.dilation[axis]):
            padding[axis], output_padding[axis] = window.begin[axis], more
        else:
            cuts[axis] = (window.begin[axis], window.end[axis])
    y = build.call(
        _by_rank(_TRANSPOSED, x), x, build.parameter(weight), build.parameter(bias, "bias"), list(window.stride),
        padding, output_padding, groups, list(window.dilation),
    )  # fmt: skip
    if any(cut != (0, 0) for cut in cuts):
        y = build.call(aten.constant_pad_nd.default, y, [-pad for pair in reversed(cuts) for pad in pair], 0.0)
    return y


def max_pool(build: GraphBuilder, x: Value, window: Window, extra: tuple[int, ...] | None = None) -> Value:
    """Return the largest element of each window.

    Paddings that PyTorch refuses (more than half the kernel, or unequal ends) become a node that pads with -inf.

    Args:
        x: [batch, channels, *sizes].
        extra: what the windows read behind the padded end.

    Raises:
        ImportModelError: more than three spatial dimensions.
    """
    target, padding = _by_rank(_MAX, x), list(window.begin)
    if not _fits_torch(window, extra):
        lowest = float("-inf") if dtype_of(x).is_floating_point else torch.iinfo(dtype_of(x)).min
        x = build.call(aten.constant_pad_nd.default, x, window.torch_padding(extra), lowest)
        padding = [0] * len(padding)
    return build.call(target, x, list(window.kernel), list(window.stride), padding, list(window.dilation))


def average_pool(
    build: GraphBuilder,
    x: Value,
    window: Window,
    extra: tuple[int, ...] | None = None,
    *,
    include_padding: bool = False,
) -> Value:
    """Return the mean of each window.

    Paddings that PyTorch refuses become a node that pads with zeros, and a constant that corrects the counts.

    Args:
        x: [batch, channels, *sizes].
        extra: what the windows read behind the padded end; never counted.
        include_padding: count the padding as elements that are zero.

    Raises:
        ImportModelError: more than three spatial dimensions.
    """
    target = _by_rank(_AVERAGE, x)
    kernel, stride = list(window.kernel), list(window.stride)
    if _fits_torch(window, extra):
        return build.call(target, x, kernel, stride, list(window.begin), False, include_padding)
    padding = window.torch_padding(extra)
    pooled = build.call(target, build.call(aten.constant_pad_nd.default, x, padding, 0.0), kernel, stride)
    counted = torch.ones(1, 1, *shape_of(x)[2:], dtype=dtype_of(x))
    if include_padding:
        counted = torch.nn.functional.pad(counted, window.torch_padding(), value=1.0)
        padding = [pad for more in reversed(extra or (0,) * len(kernel)) for pad in (0, more)]
    counts = target(torch.nn.functional.pad(counted, padding), kernel, stride)
    if bool((counts == 1).all()):
        return pooled
    return build.call(aten.div.Tensor, pooled, counts)


def _fits_torch(window: Window, extra: tuple[int, ...] | None) -> bool:
    small = all(2 * pad <= width for pad, width in zip(window.begin, window.kernel, strict=True))
    return window.symmetric and small and not any(extra or ())


def _by_rank(table: Mapping[int, Any], x: Value) -> Any:
    """Return the PyTorch operator for the spatial dimensions of `x`."""
    rank = rank_of(x) - 2
    if rank not in table:
        raise ImportModelError(f"windows over {rank} spatial dimensions", expected="1 to 3")
    return table[rank]
