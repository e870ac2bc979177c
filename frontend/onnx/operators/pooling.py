"""Pooling."""

import math

import torch

from prunus.frontend.onnx.builder import Builder
from prunus.frontend.onnx.operators.windows import Window, by_rank, window
from prunus.frontend.onnx.table import Operation, operator
from prunus.frontend.values import Value, dtype_of, rank_of, shape_of
from prunus.passes.graph import aten

_MAX = {1: aten.max_pool1d.default, 2: aten.max_pool2d.default, 3: aten.max_pool3d.default}
_AVERAGE = {1: aten.avg_pool1d.default, 2: aten.avg_pool2d.default, 3: aten.avg_pool3d.default}


@operator("MaxPool")
def max_pool(build: Builder, op: Operation) -> Value:
    """Paddings that PyTorch refuses (more than half the kernel, or unequal ends) become a node that pads with -inf."""
    x = op.value(0)
    sizes = shape_of(x)[2:]
    frame = window(op, sizes, tuple(op.attribute("kernel_shape")))
    extra = _ceil_extra(op, sizes, frame)
    padding = list(frame.begin)
    if not _fits_torch(frame, extra):
        lowest = float("-inf") if dtype_of(x).is_floating_point else torch.iinfo(dtype_of(x)).min
        x = build.call(aten.constant_pad_nd.default, x, frame.torch_padding(extra), lowest)
        padding = [0] * len(sizes)
    target = by_rank(op, _MAX, len(sizes))
    return build.call(target, x, list(frame.kernel), list(frame.stride), padding, list(frame.dilation))


@operator("AveragePool")
def average_pool(build: Builder, op: Operation) -> Value:
    """Paddings that PyTorch refuses become a node that pads with zeros, and a constant that corrects the counts."""
    x = op.value(0)
    sizes = shape_of(x)[2:]
    frame = window(op, sizes, tuple(op.attribute("kernel_shape")))
    if any(spread != 1 for spread in frame.dilation):
        raise op.refuse(f"dilations {frame.dilation}")
    extra = _ceil_extra(op, sizes, frame)
    target = by_rank(op, _AVERAGE, len(sizes))
    include = bool(op.attribute("count_include_pad", 0))
    kernel, stride = list(frame.kernel), list(frame.stride)
    if _fits_torch(frame, extra):
        return build.call(target, x, kernel, stride, list(frame.begin), False, include)
    padding = frame.torch_padding(extra)
    pooled = build.call(target, build.call(aten.constant_pad_nd.default, x, padding, 0.0), kernel, stride)
    counted = torch.ones(1, 1, *sizes, dtype=dtype_of(x))
    if include:
        counted = torch.nn.functional.pad(counted, frame.torch_padding(), value=1.0)
        padding = [pad for more in reversed(extra) for pad in (0, more)]
    counts = target(torch.nn.functional.pad(counted, padding), kernel, stride)
    if bool((counts == 1).all()):
        return pooled
    return build.call(aten.div.Tensor, pooled, counts)


@operator("LpPool")
def lp_pool(build: Builder, op: Operation) -> Value:
    """(sum of |x| ** p) ** (1 / p), the sum as an average of the padded input."""
    x, p = op.value(0), op.attribute("p", 2)
    sizes = shape_of(x)[2:]
    frame = window(op, sizes, tuple(op.attribute("kernel_shape")))
    if any(spread != 1 for spread in frame.dilation):
        raise op.refuse(f"dilations {frame.dilation}")
    powers = build.call(aten.pow.Tensor_Scalar, build.call(aten.abs.default, x), p)
    padding = frame.torch_padding(_ceil_extra(op, sizes, frame))
    if any(padding):
        powers = build.call(aten.constant_pad_nd.default, powers, padding, 0.0)
    target = by_rank(op, _AVERAGE, len(sizes))
    means = build.call(target, powers, list(frame.kernel), list(frame.stride))
    return build.call(aten.pow.Tensor_Scalar, build.call(aten.mul.Tensor, means, math.prod(frame.kernel)), 1 / p)


@operator("GlobalAveragePool")
def global_average_pool(build: Builder, op: Operation) -> Value:
    return build.call(aten.mean.dim, op.value(0), _spatial(op), True)


@operator("GlobalMaxPool")
def global_max_pool(build: Builder, op: Operation) -> Value:
    return build.call(aten.amax.default, op.value(0), _spatial(op), True)


@operator("GlobalLpPool")
def global_lp_pool(build: Builder, op: Operation) -> Value:
    return build.call(aten.linalg_vector_norm.default, op.value(0), op.attribute("p", 2), _spatial(op), True)


def _spatial(op: Operation) -> list[int]:
    return list(range(2, rank_of(op.value(0))))


def _ceil_extra(op: Operation, sizes: tuple[int, ...], frame: Window) -> tuple[int, ...]:
    """Return how much `ceil_mode` reads behind the padded end; a window that would start there is left out."""
    extra = []
    for axis, size in enumerate(sizes):
        reach = (frame.kernel[axis] - 1) * frame.dilation[axis] + 1
        padded = size + frame.begin[axis] + frame.end[axis]
        steps = padded - reach
        count = (-(-steps // frame.stride[axis]) if op.attribute("ceil_mode", 0) else steps // frame.stride[axis]) + 1
        if (count - 1) * frame.stride[axis] >= size + frame.begin[axis]:
            count -= 1
        extra.append(max((count - 1) * frame.stride[axis] + reach - padded, 0))
    return tuple(extra)


def _fits_torch(frame: Window, extra: tuple[int, ...]) -> bool:
    small = all(2 * pad <= width for pad, width in zip(frame.begin, frame.kernel, strict=True))
    return frame.symmetric and small and not any(extra)
