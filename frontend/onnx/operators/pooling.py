"""Pooling."""

import math
from dataclasses import replace

from prunus.frontend.builder import Value, rank_of, shape_of, windows
from prunus.frontend.builder.windows import Window
from prunus.frontend.onnx.builder import Builder
from prunus.frontend.onnx.operators.windows import window
from prunus.frontend.onnx.table import Operation, operator
from prunus.passes.graph import aten


@operator("MaxPool")
def max_pool(build: Builder, op: Operation) -> Value:
    x = op.value(0)
    frame = window(op, shape_of(x)[2:], tuple(op.attribute("kernel_shape")))
    return windows.max_pool(build, x, frame, _ceil_extra(op, shape_of(x)[2:], frame))


@operator("AveragePool")
def average_pool(build: Builder, op: Operation) -> Value:
    x, frame = op.value(0), _undilated(op)
    include = bool(op.attribute("count_include_pad", 0))
    return windows.average_pool(build, x, frame, _ceil_extra(op, shape_of(x)[2:], frame), include_padding=include)


@operator("LpPool")
def lp_pool(build: Builder, op: Operation) -> Value:
    """(sum of |x| ** p) ** (1 / p), the sum as an average of the padded input."""
    x, p, frame = op.value(0), op.attribute("p", 2), _undilated(op)
    powers = build.call(aten.pow.Tensor_Scalar, build.call(aten.abs.default, x), p)
    extra = _ceil_extra(op, shape_of(x)[2:], frame)
    frame = replace(frame, end=tuple(end + more for end, more in zip(frame.end, extra, strict=True)))
    means = windows.average_pool(build, powers, frame, include_padding=True)
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


def _undilated(op: Operation) -> Window:
    frame = window(op, shape_of(op.value(0))[2:], tuple(op.attribute("kernel_shape")))
    if any(spread != 1 for spread in frame.dilation):
        raise op.refuse(f"dilations {frame.dilation}")
    return frame


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
