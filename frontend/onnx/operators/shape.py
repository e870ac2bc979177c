"""Operators that move elements without computing: shapes, cuts, joins, padding."""

import math

import torch

from prunus.frontend.builder import Value, arithmetic, dtype_of, normalized_axis, rank_of, shape_of
from prunus.frontend.onnx.builder import Builder
from prunus.frontend.onnx.operators.padding import pad_value
from prunus.frontend.onnx.table import Operation, operator
from prunus.frontend.onnx.values import Results
from prunus.passes.graph import aten


@operator("Shape")
def shape(build: Builder, op: Operation) -> Value:
    return torch.tensor(shape_of(op.value(0))[op.attribute("start", 0) : op.attribute("end")], dtype=torch.int64)


@operator("Size")
def size(build: Builder, op: Operation) -> Value:
    return torch.tensor(math.prod(shape_of(op.value(0))), dtype=torch.int64)


@operator("Reshape")
def reshape(build: Builder, op: Operation) -> Value:
    """0 keeps a dimension (unless `allowzero`), -1 takes what is left."""
    x, wanted = op.value(0), op.ints("shape", 1)
    assert wanted is not None
    sizes = shape_of(x)
    if not op.attribute("allowzero", 0):
        wanted = tuple(sizes[axis] if dim == 0 else dim for axis, dim in enumerate(wanted))
    if -1 in wanted:
        known = math.prod(dim for dim in wanted if dim != -1)
        wanted = tuple(math.prod(sizes) // max(known, 1) if dim == -1 else dim for dim in wanted)
    return arithmetic.reshape(build, x, wanted)


@operator("Flatten")
def flatten(build: Builder, op: Operation) -> Value:
    sizes = shape_of(op.value(0))
    axis = normalized_axis(op.attribute("axis", 1), len(sizes))
    return arithmetic.reshape(build, op.value(0), (math.prod(sizes[:axis]), math.prod(sizes[axis:])))


@operator("Transpose")
def transpose(build: Builder, op: Operation) -> Value:
    order = list(op.attribute("perm") or reversed(range(rank_of(op.value(0)))))
    return build.call(aten.permute.default, op.value(0), order)


@operator("Squeeze")
def squeeze(build: Builder, op: Operation) -> Value:
    x, axes = op.value(0), op.ints("axes", 1)
    if axes is None:
        axes = tuple(axis for axis, size in enumerate(shape_of(x)) if size == 1)
    wrong = [axis for axis in axes if shape_of(x)[axis] != 1]
    if wrong:
        raise op.refuse(f"axes {wrong} of shape {shape_of(x)} are not 1", do="check the shapes of the inputs")
    return build.call(aten.squeeze.dims, x, [normalized_axis(axis, rank_of(x)) for axis in axes]) if axes else x


@operator("Unsqueeze")
def unsqueeze(build: Builder, op: Operation) -> Value:
    """Axes count in the result."""
    x, axes = op.value(0), op.ints("axes", 1)
    assert axes is not None
    rank = rank_of(x) + len(axes)
    for axis in sorted(normalized_axis(axis, rank) for axis in axes):
        x = build.call(aten.unsqueeze.default, x, axis)
    return x


@operator("Expand")
def expand(build: Builder, op: Operation) -> Value:
    """Either side may be stretched."""
    x, wanted = op.value(0), op.ints("shape", 1)
    assert wanted is not None
    sizes = tuple(torch.broadcast_shapes(shape_of(x), wanted))
    return x if sizes == shape_of(x) else build.call(aten.expand.default, x, list(sizes))


@operator("Tile")
def tile(build: Builder, op: Operation) -> Value:
    repeats = op.ints("repeats", 1)
    assert repeats is not None
    return (
        op.value(0)
        if all(count == 1 for count in repeats)
        else build.call(aten.repeat.default, op.value(0), list(repeats))
    )


@operator("Concat")
def concat(build: Builder, op: Operation) -> Value:
    parts = [op.value(index) for index in range(len(op.inputs))]
    return parts[0] if len(parts) == 1 else build.call(aten.cat.default, parts, op.attribute("axis"))


@operator("Split")
def split(build: Builder, op: Operation) -> Results:
    """Without sizes, parts are equal, the last one smaller where that does not come out even."""
    x = op.value(0)
    axis = normalized_axis(op.attribute("axis", 0), rank_of(x))
    sizes = op.ints("split", 1)
    if sizes is None:
        total, count = shape_of(x)[axis], op.attribute("num_outputs", len(op.outputs))
        step = -(-total // count)
        sizes = tuple(min(step, total - start) for start in range(0, total, step))
    return build.call_many(aten.split_with_sizes.default, x, list(sizes), axis)


@operator("Slice")
def slice_axes(build: Builder, op: Operation) -> Value:
    """Backward steps flip the axis first; bounds are cut to the axis as in Python."""
    x = op.value(0)
    starts, ends = op.ints("starts", 1), op.ints("ends", 2)
    assert starts is not None
    assert ends is not None
    axes = op.ints("axes", 3) or tuple(range(len(starts)))
    steps = op.ints("steps", 4) or (1,) * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        x = sliced(build, x, normalized_axis(axis, rank_of(x)), start, end, step)
    return x


def sliced(build: Builder, x: Value, axis: int, start: int, end: int, step: int = 1) -> Value:
    """Return `x[start:end:step]` along one axis."""
    total = shape_of(x)[axis]
    first, last, step = slice(start, end if end >= -total or step > 0 else None, step).indices(total)
    if step < 0:
        x = build.call(aten.flip.default, x, [axis])
        first, last, step = total - 1 - first, total - 1 - last, -step
    if (first, step) == (0, 1) and last >= total:
        return x
    return build.call(aten.slice.Tensor, x, axis, first, max(first, last), step)


@operator("Pad")
def pad(build: Builder, op: Operation) -> Value:
    """`pads` holds all beginnings, then all ends; attributes before version 11."""
    x, pads = op.value(0), op.ints("pads", 1)
    assert pads is not None
    held = op.constant(2)
    number = held.item() if held is not None else op.attribute("value", 0.0)
    axes = [normalized_axis(axis, rank_of(x)) for axis in op.ints("axes", 3) or range(rank_of(x))]
    begin, end = [0] * rank_of(x), [0] * rank_of(x)
    for position, axis in enumerate(axes):
        begin[axis], end[axis] = pads[position], pads[position + len(axes)]
    return pad_value(build, x, begin, end, op.attribute("mode", "constant"), number)


@operator("ConstantOfShape")
def constant_of_shape(build: Builder, op: Operation) -> Value:
    wanted = op.ints("shape", 0)
    assert wanted is not None
    held = op.attribute("value", torch.zeros(1))
    return build.call(aten.full.default, list(wanted), held.item(), dtype=held.dtype)


@operator("Range")
def arange(build: Builder, op: Operation) -> Value:
    start, limit, step = op.constant(0), op.constant(1), op.constant(2)
    assert start is not None
    assert limit is not None
    assert step is not None
    return build.call(aten.arange.start_step, start.item(), limit.item(), step.item(), dtype=start.dtype)


@operator("EyeLike")
def eye_like(build: Builder, op: Operation) -> Value:
    rows, columns = shape_of(op.value(0))
    ones = build.call(aten.full.default, [rows, columns], 1.0, dtype=dtype_of(op.value(0)))
    k = op.attribute("k", 0)
    return build.call(aten.tril.default, build.call(aten.triu.default, ones, k), k)


@operator("Trilu")
def trilu(build: Builder, op: Operation) -> Value:
    held = op.constant(1)
    target = aten.triu.default if op.attribute("upper", 1) else aten.tril.default
    return build.call(target, op.value(0), int(held) if held is not None else 0)


@operator("DepthToSpace")
def depth_to_space(build: Builder, op: Operation) -> Value:
    """CRD is PyTorch's pixel shuffle; DCR has the block's place as the slower part of the channel."""
    x, block = op.value(0), op.attribute("blocksize")
    if op.attribute("mode", "DCR") == "CRD":
        return build.call(aten.pixel_shuffle.default, x, block)
    batch, channels, height, width = shape_of(x)
    kept = channels // block**2
    x = build.call(aten.reshape.default, x, [batch, block, block, kept, height, width])
    x = build.call(aten.permute.default, x, [0, 3, 4, 1, 5, 2])
    return build.call(aten.reshape.default, x, [batch, kept, height * block, width * block])


@operator("SpaceToDepth")
def space_to_depth(build: Builder, op: Operation) -> Value:
    x, block = op.value(0), op.attribute("blocksize")
    batch, channels, height, width = shape_of(x)
    x = build.call(aten.reshape.default, x, [batch, channels, height // block, block, width // block, block])
    x = build.call(aten.permute.default, x, [0, 3, 5, 1, 2, 4])
    return build.call(aten.reshape.default, x, [batch, channels * block**2, height // block, width // block])
