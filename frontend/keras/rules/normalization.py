"""Norms."""

from typing import Any

import torch
from torch.fx import Node

from prunus.frontend.builder import Value, arithmetic, rank_of, shape_of
from prunus.frontend.keras.builder import Builder
from prunus.frontend.keras.layout import axis_second, second_back
from prunus.frontend.keras.table import Call, rule
from prunus.passes.graph import aten

_SMALLEST = 1e-7  # keras.config.epsilon() where an operation names none


@rule("layers.BatchNormalization")
def batch_normalization(build: Builder, call: Call) -> Value:
    """Keras counts momentum as the share of the old statistics, PyTorch as that of the new ones."""
    return _batch_norm(
        build, call.x, call.axis, build.value(call.gamma if call.scale else None),
        build.value(call.beta if call.center else None), build.value(call.moving_mean),
        build.value(call.moving_variance), float(call.epsilon), round(1 - float(call.momentum), 6),
    )  # fmt: skip


@rule("ops.BatchNorm")
def batch_norm_operation(build: Builder, call: Call) -> Value:
    mean, variance, offset, scale = (
        build.value(call.argument(place, name))
        for place, name in ((1, "mean"), (2, "variance"), (3, "offset"), (4, "scale"))
    )
    return _batch_norm(build, call.x, call.axis, scale, offset, mean, variance, float(call.epsilon), 0.1)


@rule("layers.LayerNormalization")
def layer_normalization(build: Builder, call: Call) -> Value:
    if getattr(call.operation, "rms_scaling", False):
        return _rms_norm(build, call.x, call.axis, build.value(call.gamma), float(call.epsilon))
    beta = build.value(call.beta)
    return _layer_norm(build, call.x, call.axis, build.value(call.gamma), beta, float(call.epsilon))


@rule("ops.LayerNorm")
def layer_norm_operation(build: Builder, call: Call) -> Value:
    gamma, beta = (build.value(call.argument(place, name)) for place, name in ((1, "gamma"), (2, "beta")))
    epsilon = _SMALLEST if call.epsilon is None else float(call.epsilon)
    if call.rms_scaling:
        return _rms_norm(build, call.x, call.axis, gamma, epsilon)
    return _layer_norm(build, call.x, call.axis, gamma, beta, epsilon)


@rule("ops.RMSNorm")
def rms_norm_operation(build: Builder, call: Call) -> Value:
    epsilon = _SMALLEST if call.epsilon is None else float(call.epsilon)
    return _rms_norm(build, call.x, call.axis, build.value(call.argument(1, "scale")), epsilon)


@rule("layers.GroupNormalization")
def group_normalization(build: Builder, call: Call) -> Value:
    x = axis_second(build, call.x, call.axis)
    groups = shape_of(x)[1] if call.groups == -1 else call.groups
    weight = build.parameter(build.value(call.gamma if call.scale else None), "gamma")
    bias = build.parameter(build.value(call.beta if call.center else None), "beta")
    y = build.call(aten.group_norm.default, x, groups, weight, bias, float(call.epsilon))
    return second_back(build, y, call.axis)


@rule("ops.Normalize")
def normalize(build: Builder, call: Call) -> Value:
    """x / max(norm, epsilon)"""
    x, axis = call.x, call.axis
    axes = list(range(rank_of(x))) if axis is None else [axis] if isinstance(axis, int) else list(axis)
    norm = build.call(aten.linalg_vector_norm.default, x, call.order, axes, True)
    smallest = _SMALLEST if call.epsilon is None else float(call.epsilon)
    return build.call(aten.div.Tensor, x, build.call(aten.clamp.default, norm, smallest))


@rule("ops.Moments")
def moments(build: Builder, call: Call) -> tuple[Value, Value]:
    axes = [call.axes] if isinstance(call.axes, int) else list(call.axes)
    mean = build.call(aten.mean.dim, call.x, axes, True)
    centred = build.call(aten.sub.Tensor, call.x, mean)
    variance = build.call(aten.mean.dim, build.call(aten.mul.Tensor, centred, centred), axes, bool(call.keepdims))
    return (mean if call.keepdims else build.call(aten.mean.dim, call.x, axes, False)), variance


def _batch_norm(
    build: Builder,
    x: Value,
    axis: Any,
    weight: Value | None,
    bias: Value | None,
    mean: Value,
    variance: Value,
    epsilon: float,
    momentum: float,
) -> Value:
    axis = axis if isinstance(axis, int) else axis[0]
    y = build.call(
        aten.batch_norm.default, axis_second(build, x, axis), build.parameter(weight, "gamma"),
        build.parameter(bias, "beta"), mean, variance, False, momentum, epsilon, False,
    )  # fmt: skip
    return second_back(build, y, axis)


def _layer_norm(build: Builder, x: Value, axis: Any, weight: Value | None, bias: Value | None, epsilon: float) -> Value:
    moved, order, axes = _to_the_end(build, x, axis)
    sizes = [shape_of(x)[dim] for dim in axes]
    weight, bias = (_expanded(value, sizes) for value in (weight, bias))
    y = build.call(
        aten.layer_norm.default, moved, sizes, build.parameter(weight, "gamma"), build.parameter(bias, "beta"), epsilon
    )
    return arithmetic.permute(build, y, [order.index(dim) for dim in range(len(order))])


def _rms_norm(build: Builder, x: Value, axis: Any, weight: Value | None, epsilon: float) -> Value:
    moved, order, axes = _to_the_end(build, x, axis)
    sizes = [shape_of(x)[dim] for dim in axes]
    weight = _expanded(weight, sizes)
    y = build.call(aten.rms_norm.default, moved, sizes, build.parameter(weight, "scale"), epsilon)
    return arithmetic.permute(build, y, [order.index(dim) for dim in range(len(order))])


def _to_the_end(build: Builder, x: Value, axis: Any) -> tuple[Value, list[int], list[int]]:
    """Return `x` with the normalised axes last, the order that does it, and these axes."""
    rank = rank_of(x)
    axes = sorted(dim % rank for dim in ([axis] if isinstance(axis, int) else axis))
    order = [dim for dim in range(rank) if dim not in axes] + axes
    return arithmetic.permute(build, x, order), order, axes


def _expanded(value: Value | None, sizes: list[int]) -> Value | None:
    """Return a weight in the shape of the normalised axes."""
    if value is None or isinstance(value, Node):
        return value
    return value if list(value.shape) == sizes else torch.broadcast_to(value.reshape(_aligned(value, sizes)), sizes)


def _aligned(value: torch.Tensor, sizes: list[int]) -> list[int]:
    return sizes if value.numel() == int(torch.Size(sizes).numel()) else list(value.shape)
