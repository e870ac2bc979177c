"""Orders of dimensions in memory, and the strides that follow."""

from collections.abc import Sequence

DimOrder = tuple[int, ...]
"""Logical dimensions from the slowest in memory to the fastest."""


def contiguous(shape: Sequence[int], order: DimOrder | None = None) -> tuple[int, ...]:
    """Return strides of a dense tensor whose dimensions lie in memory in `order`."""
    order = order if order is not None else tuple(range(len(shape)))
    strides, step = [0] * len(shape), 1
    for dim in reversed(order):
        strides[dim] = step
        step *= shape[dim]
    return tuple(strides)


def channels_last(rank: int) -> DimOrder:
    """Return the order with dimension 1 fastest: NHWC for an NCHW tensor."""
    return (0, *range(2, rank), 1) if rank > 1 else tuple(range(rank))
