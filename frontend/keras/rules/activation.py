"""Activations."""

import math
from typing import Any

import torch

from prunus.frontend.builder import Value, arithmetic, dtype_of, rank_of, shape_of
from prunus.frontend.keras.builder import Builder
from prunus.frontend.keras.table import Call, Rule, rule
from prunus.passes.graph import aten

_PLAIN = {
    "Relu": aten.relu.default,
    "Selu": aten.selu.default,
    "Sigmoid": aten.sigmoid.default,
    "Silu": aten.silu.default,
    "Softplus": aten.softplus.default,
    "LogSigmoid": aten.log_sigmoid.default,
    "HardSigmoid": aten.hardsigmoid.default,
    "HardSilu": aten.hardswish.default,
    "Tanh": aten.tanh.default,
}


def _plain(target: Any) -> Rule:
    return lambda build, call: build.call(target, call.x)


for _name, _target in _PLAIN.items():
    rule(f"ops.{_name}")(_plain(_target))
rule("activations.hard_sigmoid")(_plain(aten.hardsigmoid.default))
rule("activations.hard_silu")(_plain(aten.hardswish.default))


@rule("layers.Activation")
def activation(build: Builder, call: Call) -> Any:
    return build.run(call.activation, call.x)


@rule("ops.Relu6")
def relu6(build: Builder, call: Call) -> Value:
    return build.call(aten.clamp.default, call.x, 0.0, 6.0)


@rule("layers.ReLU", "activations.ReLU")
def relu(build: Builder, call: Call) -> Value:
    """x up to `max_value` where it exceeds `threshold`, below that the slope times its distance from it."""
    x, slope, threshold = call.x, float(call.negative_slope or 0), float(call.threshold or 0)
    if not threshold and call.max_value is None:
        return build.call(aten.leaky_relu.default, x, slope) if slope else build.call(aten.relu.default, x)
    highest = None if call.max_value is None else float(call.max_value)
    if threshold:
        kept = build.call(aten.mul.Tensor, x, arithmetic.cast(build, _above(build, x, threshold), dtype_of(x)))
        kept = build.call(aten.clamp.default, kept, None, highest) if highest is not None else kept
    else:
        kept = build.call(aten.clamp.default, x, 0.0, highest)
    if not slope:
        return kept
    distance = build.call(aten.relu.default, build.call(aten.rsub.Scalar, x, threshold))
    return build.call(aten.sub.Tensor, kept, build.call(aten.mul.Tensor, distance, slope))


def _above(build: Builder, x: Value, threshold: float) -> Value:
    return build.call(aten.gt.Scalar, x, threshold)


@rule("layers.PReLU")
def prelu(build: Builder, call: Call) -> Value:
    """Slopes of any shape that broadcasts: max(x, 0) + slope * min(x, 0)."""
    slope = build.parameter(build.value(call.alpha), "alpha")
    positive = build.call(aten.relu.default, call.x)
    return build.call(aten.add.Tensor, positive, build.call(
        aten.mul.Tensor, build.call(aten.clamp.default, call.x, None, 0.0), slope
    ))  # fmt: skip


@rule("layers.LeakyReLU", "ops.LeakyRelu")
def leaky_relu(build: Builder, call: Call) -> Value:
    return build.call(aten.leaky_relu.default, call.x, float(call.negative_slope))


@rule("layers.ELU", "ops.Elu")
def elu(build: Builder, call: Call) -> Value:
    return build.call(aten.elu.default, call.x, float(call.alpha))


@rule("ops.Celu")
def celu(build: Builder, call: Call) -> Value:
    return build.call(aten.celu.default, call.x, float(call.alpha))


@rule("ops.Gelu")
def gelu(build: Builder, call: Call) -> Value:
    return build.call(aten.gelu.default, call.x, approximate="tanh" if call.approximate else "none")


@rule("activations.Mish", "activations.mish")
def mish(build: Builder, call: Call) -> Value:
    return build.call(aten.mish.default, call.x)


@rule("ops.Glu")
def glu(build: Builder, call: Call) -> Value:
    return build.call(aten.glu.default, call.x, call.axis)


@rule("ops.Softsign")
def softsign(build: Builder, call: Call) -> Value:
    below = build.call(aten.add.Tensor, build.call(aten.abs.default, call.x), 1.0)
    return build.call(aten.div.Tensor, call.x, below)


@rule("ops.HardTanh")
def hard_tanh(build: Builder, call: Call) -> Value:
    return build.call(aten.clamp.default, call.x, -1.0, 1.0)


@rule("ops.TanhShrink")
def tanh_shrink(build: Builder, call: Call) -> Value:
    return build.call(aten.sub.Tensor, call.x, build.call(aten.tanh.default, call.x))


@rule("ops.Squareplus")
def squareplus(build: Builder, call: Call) -> Value:
    """(x + sqrt(x ** 2 + b)) / 2"""
    squares = build.call(aten.add.Tensor, build.call(aten.mul.Tensor, call.x, call.x), float(call.b))
    return build.call(aten.mul.Tensor, build.call(aten.add.Tensor, call.x, build.call(aten.sqrt.default, squares)), 0.5)


@rule("ops.Softmax")
def softmax(build: Builder, call: Call) -> Value:
    return over_axes(build, aten.softmax.int, call.x, call.axis)


@rule("ops.LogSoftmax")
def log_softmax(build: Builder, call: Call) -> Value:
    return over_axes(build, aten.log_softmax.int, call.x, call.axis)


@rule("layers.Softmax")
def masked_softmax(build: Builder, call: Call) -> Value:
    """What the mask hides gets no weight."""
    x, mask = call.x, call.argument(1, "mask")
    if mask is not None:
        lowest = torch.tensor(torch.finfo(dtype_of(x)).min, dtype=dtype_of(x))
        x = arithmetic.where(build, arithmetic.cast(build, build.value(mask), torch.bool), x, lowest)
    return over_axes(build, aten.softmax.int, x, call.axis)


def over_axes(build: Builder, target: Any, x: Value, axis: Any) -> Value:
    """Apply a softmax over one axis or, side by side, over several; None means all."""
    rank = rank_of(x)
    axes = list(range(rank)) if axis is None else [axis] if isinstance(axis, int) else list(axis)
    axes = [dim % rank for dim in axes]
    if len(axes) == 1:
        return build.call(target, x, axes[0])
    return flattened(build, x, axes, lambda flat: build.call(target, flat, -1))


def flattened(build: Builder, x: Value, axes: list[int], function: Any) -> Value:
    """Apply a function to `x` with `axes` made one, its last dimension, and undo that."""
    kept = [dim for dim in range(rank_of(x)) if dim not in axes]
    order, sizes = kept + axes, shape_of(x)
    moved = arithmetic.permute(build, x, order)
    joined = math.prod(sizes[dim] for dim in axes)
    result = function(arithmetic.reshape(build, moved, [*(sizes[dim] for dim in kept), joined]))
    back = arithmetic.reshape(build, result, [sizes[dim] for dim in order])
    return arithmetic.permute(build, back, [order.index(dim) for dim in range(len(order))])
