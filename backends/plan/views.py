"""Views of buffers, and operators that only look at memory in another way."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.fx import Node

from prunus.backends.plan.layout import DimOrder, contiguous
from prunus.backends.plan.program import Buffer, View
from prunus.passes.graph import aten

# Operators of one input that change no element: their result is another view, where strides allow.
VIEW_OPERATORS = (
    aten.reshape.default, aten.view.default, aten.permute.default, aten.slice.Tensor, aten.select.int,
    aten.expand.default,
    aten.unsqueeze.default, aten.squeeze.dim, aten.squeeze.dims, aten.transpose.int, aten.unfold.default,
    aten.alias.default, aten.detach.default,
)  # fmt: skip


def dense(buffer: Buffer, shape: Sequence[int], order: DimOrder | None = None) -> View:
    """Return a view of all of a buffer, its dimensions in memory in `order`."""
    return View(buffer, 0, tuple(shape), contiguous(shape, order))


def is_dense(view: View) -> bool:
    """Tell whether a view's elements are row-major neighbours; strides of dimensions of size 1 do not count."""
    expected = contiguous(view.shape)
    return all(size == 1 or own == right for size, own, right in zip(view.shape, view.strides, expected, strict=True))


def covers(view: View) -> bool:
    """Tell whether a view reaches every element of its buffer exactly once."""
    order = sorted(range(len(view.shape)), key=lambda dim: -view.strides[dim])
    expected = contiguous(view.shape, tuple(order))
    same = all(size == 1 or own == right for size, own, right in zip(view.shape, view.strides, expected, strict=True))
    count = 1
    for size in view.shape:
        count *= size
    return same and view.offset == 0 and count == view.buffer.size


def broadcast(view: View, shape: Sequence[int]) -> View:
    """Return a view repeated to `shape` as PyTorch broadcasts: stride 0 along repeated dimensions."""
    missing = len(shape) - len(view.shape)
    strides = [0] * missing
    for size, step, wanted in zip(view.shape, view.strides, shape[missing:], strict=True):
        strides.append(0 if size == 1 and wanted != 1 else step)
    return View(view.buffer, view.offset, tuple(shape), tuple(strides))


def look(node: Node, view: View) -> View | None:
    """Return the view that a view operator makes of `view`, None where strides cannot express it.

    PyTorch's own rules for strides decide: the operator runs on a tensor without memory.
    """
    reach = 1 + view.offset + sum((size - 1) * step for size, step in zip(view.shape, view.strides, strict=True))
    memory = torch.empty(max(reach, 1), device="meta", dtype=torch.uint8)
    tensor = torch.as_strided(memory, view.shape, view.strides, view.offset)
    target: Any = aten.view.default if node.target is aten.reshape.default else node.target
    try:
        result = target(tensor, *node.args[1:], **node.kwargs)
    except RuntimeError:
        return None
    return View(view.buffer, int(result.storage_offset()), tuple(result.shape), tuple(result.stride()))


def part(view: View, dim: int, start: int, length: int) -> View:
    """Return the slice start..start + length along one dimension."""
    shape = (*view.shape[:dim], length, *view.shape[dim + 1 :])
    return View(view.buffer, view.offset + start * view.strides[dim], shape, view.strides)


def order_of(view: View) -> DimOrder:
    """Return the dimensions of a view from the slowest in memory to the fastest; repeated ones come first."""
    return tuple(
        sorted(
            range(len(view.shape)), key=lambda dim: (view.strides[dim] != 0, -view.strides[dim], -view.shape[dim], dim)
        )
    )
