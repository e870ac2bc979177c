"""Reading and writing by index."""

import torch
from torch.fx import Node

from prunus.frontend.builder import Value, arithmetic, dtype_of, normalized_axis, rank_of, shape_of
from prunus.frontend.onnx.builder import Builder
from prunus.frontend.onnx.table import Operation, operator
from prunus.passes.graph import aten

_REDUCTIONS = {"mul": "prod", "max": "amax", "min": "amin"}


@operator("Gather")
def gather(build: Builder, op: Operation) -> Value:
    """Rows of a constant table are an embedding; one constant index selects.

    Indices that are only known at run time must not be negative, as in PyTorch.
    """
    x, indices = op.value(0), op.value(1)
    axis = normalized_axis(op.attribute("axis", 0), rank_of(x))
    if isinstance(indices, torch.Tensor):
        indices = torch.where(indices < 0, indices + shape_of(x)[axis], indices)
        if indices.dim() == 0:
            return build.call(aten.select.int, x, axis, int(indices))
    if isinstance(x, torch.Tensor) and x.dim() == 2 and x.is_floating_point() and axis == 0:
        return build.call(aten.embedding.default, build.parameter(x), indices)
    sizes, places = shape_of(x), shape_of(indices)
    flat = build.call(
        aten.index_select.default, x, axis, arithmetic.reshape(build, indices, (-1,) if len(places) != 1 else places)
    )
    return arithmetic.reshape(build, flat, (*sizes[:axis], *places, *sizes[axis + 1 :]))


@operator("GatherElements")
def gather_elements(build: Builder, op: Operation) -> Value:
    x = op.value(0)
    axis = normalized_axis(op.attribute("axis", 0), rank_of(x))
    return build.call(aten.gather.default, x, axis, _long(build, op.value(1), shape_of(x)[axis]))


@operator("GatherND")
def gather_nd(build: Builder, op: Operation) -> Value:
    x = op.value(0)
    return build.call(aten.index.Tensor, x, _columns(build, op, op.attribute("batch_dims", 0)))


@operator("ScatterElements")
@operator("Scatter", since=9)
def scatter_elements(build: Builder, op: Operation) -> Value:
    x, updates = op.value(0), op.value(2)
    axis = normalized_axis(op.attribute("axis", 0), rank_of(x))
    indices = _long(build, op.value(1), shape_of(x)[axis])
    reduction = op.attribute("reduction", "none")
    if reduction == "none":
        return build.call(aten.scatter.src, x, axis, indices, updates)
    if reduction == "add":
        return build.call(aten.scatter_add.default, x, axis, indices, updates)
    return build.call(aten.scatter_reduce.two, x, axis, indices, updates, _REDUCTIONS[reduction])


@operator("ScatterND")
def scatter_nd(build: Builder, op: Operation) -> Value:
    reduction = op.attribute("reduction", "none")
    if reduction not in ("none", "add"):
        raise op.refuse(f"reduction {reduction!r}, of none and add")
    return build.call(aten.index_put.default, op.value(0), _columns(build, op, 0), op.value(2), reduction == "add")


@operator("OneHot")
def one_hot(build: Builder, op: Operation) -> Value:
    """Compared with all places, because indices out of range, which PyTorch's operator refuses, give zeros.

    before:  OneHot(i, depth, [off, on])
    after:   where(i == places or i == places - depth, on, off)
    """
    depth, values = op.constant(1), op.constant(2)
    assert depth is not None
    assert values is not None
    rank = rank_of(op.value(0)) + 1
    axis = normalized_axis(op.attribute("axis", -1), rank)
    indices = build.call(aten.unsqueeze.default, arithmetic.cast(build, op.value(0), torch.int64), axis)
    count = int(depth)
    places = torch.arange(count).reshape([count if dim == axis else 1 for dim in range(rank)])
    hit = build.call(
        aten.logical_or.default,
        build.call(aten.eq.Tensor, indices, places),
        build.call(aten.eq.Tensor, indices, places - count),
    )
    off, on = values.tolist()
    if (off, on) == (0, 1):
        return arithmetic.cast(build, hit, values.dtype)
    return build.call(aten.where.self, hit, values[1], values[0])


@operator("NonZero")
def non_zero(build: Builder, op: Operation) -> Value:
    held = op.constant(0)
    assert held is not None
    return torch.nonzero(held).t().contiguous()


@operator("Compress")
def compress(build: Builder, op: Operation) -> Value:
    x, condition = op.value(0), op.constant(1)
    assert condition is not None
    axis = op.attribute("axis")
    if axis is None:
        x, axis = arithmetic.reshape(build, x, (torch.Size(shape_of(x)).numel(),)), 0
    return build.call(
        aten.index_select.default, x, normalized_axis(axis, rank_of(x)), torch.nonzero(condition).reshape(-1)
    )


@operator("GridSample", since=16)
def grid_sample(build: Builder, op: Operation) -> Value:
    modes = {"bilinear": 0, "linear": 0, "nearest": 1, "bicubic": 2, "cubic": 2}
    paddings = {"zeros": 0, "border": 1, "reflection": 2}
    if rank_of(op.value(0)) != 4:
        raise op.refuse(f"an input of {rank_of(op.value(0))} dimensions, of 4")
    return build.call(
        aten.grid_sampler_2d.default, op.value(0), op.value(1), modes[op.attribute("mode", "bilinear")],
        paddings[op.attribute("padding_mode", "zeros")], bool(op.attribute("align_corners", 0)),
    )  # fmt: skip


def _columns(build: Builder, op: Operation, batch_dims: int) -> list[Value]:
    """Return one tensor of indices for each indexed axis; those of the batch count up."""
    x, indices = op.value(0), op.value(1)
    shape = shape_of(indices)
    columns: list[Value] = []
    for axis in range(batch_dims):
        places = torch.arange(shape_of(x)[axis])
        columns.append(places.reshape([-1 if dim == axis else 1 for dim in range(len(shape) - 1)]))
    for column in range(shape[-1]):
        columns.append(build.call(aten.select.int, indices, len(shape) - 1, column))
    return columns


def _long(build: Builder, indices: Value, size: int) -> Value:
    """Return indices as int64; negative ones count from the end."""
    indices = arithmetic.cast(build, indices, torch.int64)
    if isinstance(indices, Node) and dtype_of(indices) == torch.int64:
        return build.call(aten.remainder.Scalar, indices, size)
    assert isinstance(indices, torch.Tensor)
    return torch.where(indices < 0, indices + size, indices)
