"""Activation functions."""

import math

import torch

from prunus.frontend.builder.values import Value, normalized_axis, rank_of, shape_of, tensor_of
from prunus.frontend.onnx.builder import Builder
from prunus.frontend.onnx.table import Operation, operator
from prunus.passes.graph import aten

_SELU_ALPHA, _SELU_GAMMA = 1.6732632423543772, 1.0507009873554805


@operator("Relu")
def relu(build: Builder, op: Operation) -> Value:
    return build.call(aten.relu.default, op.value(0))


@operator("Sigmoid")
def sigmoid(build: Builder, op: Operation) -> Value:
    return build.call(aten.sigmoid.default, op.value(0))


@operator("Tanh")
def tanh(build: Builder, op: Operation) -> Value:
    return build.call(aten.tanh.default, op.value(0))


@operator("LeakyRelu")
def leaky_relu(build: Builder, op: Operation) -> Value:
    return build.call(aten.leaky_relu.default, op.value(0), op.attribute("alpha", 0.01))


@operator("PRelu")
def prelu(build: Builder, op: Operation) -> Value:
    """One slope, or one a channel, is PyTorch's operator; slopes of other shapes are written out."""
    x, slope = op.value(0), op.value(1)
    sizes = shape_of(slope)
    aligned = (1,) * (rank_of(x) - len(sizes)) + sizes
    channels = shape_of(x)[1] if rank_of(x) > 1 else 1
    if math.prod(sizes) == 1 or (len(aligned) > 1 and aligned[1] == math.prod(sizes) == channels):
        return build.call(aten.prelu.default, x, build.parameter(build.call(aten.reshape.default, slope, [-1])))
    scaled = build.call(aten.mul.Tensor, x, slope)
    return build.call(aten.where.self, build.call(aten.gt.Scalar, x, 0), x, scaled)


@operator("Elu")
def elu(build: Builder, op: Operation) -> Value:
    return build.call(aten.elu.default, op.value(0), op.attribute("alpha", 1.0))


@operator("Selu")
def selu(build: Builder, op: Operation) -> Value:
    alpha, gamma = op.attribute("alpha", _SELU_ALPHA), op.attribute("gamma", _SELU_GAMMA)
    if math.isclose(alpha, _SELU_ALPHA, rel_tol=1e-6) and math.isclose(gamma, _SELU_GAMMA, rel_tol=1e-6):
        return build.call(aten.selu.default, op.value(0))
    return build.call(aten.elu.default, op.value(0), alpha, gamma)


@operator("Celu")
def celu(build: Builder, op: Operation) -> Value:
    return build.call(aten.celu.default, op.value(0), op.attribute("alpha", 1.0))


@operator("ThresholdedRelu")
def thresholded_relu(build: Builder, op: Operation) -> Value:
    return build.call(aten.threshold.default, op.value(0), op.attribute("alpha", 1.0), 0.0)


@operator("Shrink")
def shrink(build: Builder, op: Operation) -> Value:
    """x + bias below -lambd, x - bias above lambd, else 0."""
    x, bias, threshold = op.value(0), op.attribute("bias", 0.0), op.attribute("lambd", 0.5)
    above = build.call(
        aten.where.ScalarOther, build.call(aten.gt.Scalar, x, threshold), build.call(aten.sub.Tensor, x, bias), 0.0
    )
    return build.call(
        aten.where.self, build.call(aten.lt.Scalar, x, -threshold), build.call(aten.add.Tensor, x, bias), above
    )


@operator("Clip", since=6)
def clip_attributes(build: Builder, op: Operation) -> Value:
    low, high = op.attribute("min"), op.attribute("max")
    return op.value(0) if low is None and high is None else build.call(aten.clamp.default, op.value(0), low, high)


@operator("Clip", since=11)
def clip(build: Builder, op: Operation) -> Value:
    x, low, high = op.value(0), op.optional(1), op.optional(2)
    if low is None and high is None:
        return x
    if any(bound is not None and not isinstance(bound, torch.Tensor) for bound in (low, high)):
        return build.call(aten.clamp.Tensor, x, low, high)
    return build.call(
        aten.clamp.default, x, *(None if bound is None else tensor_of(bound).item() for bound in (low, high))
    )


@operator("HardSigmoid")
def hard_sigmoid(build: Builder, op: Operation) -> Value:
    """clamp(alpha * x + beta, 0, 1); PyTorch's operator is the one with 1/6 and 1/2."""
    x, alpha, beta = op.value(0), op.attribute("alpha", 0.2), op.attribute("beta", 0.5)
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5:
        return build.call(aten.hardsigmoid.default, x)
    line = build.call(aten.add.Tensor, build.call(aten.mul.Tensor, x, alpha), beta)
    return build.call(aten.clamp.default, line, 0.0, 1.0)


@operator("HardSwish")
def hard_swish(build: Builder, op: Operation) -> Value:
    return build.call(aten.hardswish.default, op.value(0))


@operator("Softplus")
def softplus(build: Builder, op: Operation) -> Value:
    return build.call(aten.softplus.default, op.value(0))


@operator("Softsign")
def softsign(build: Builder, op: Operation) -> Value:
    x = op.value(0)
    return build.call(aten.div.Tensor, x, build.call(aten.add.Tensor, build.call(aten.abs.default, x), 1))


@operator("Mish")
def mish(build: Builder, op: Operation) -> Value:
    return build.call(aten.mish.default, op.value(0))


@operator("Gelu")
@operator("Gelu", domain="com.microsoft")
def gelu(build: Builder, op: Operation) -> Value:
    approximate = op.attribute("approximate", "none")
    return build.call(aten.gelu.default, op.value(0), **({} if approximate == "none" else {"approximate": approximate}))


@operator("Softmax")
def softmax_flattened(build: Builder, op: Operation) -> Value:
    return _flattened(build, op, aten.softmax.int)


@operator("Softmax", since=13)
def softmax(build: Builder, op: Operation) -> Value:
    return build.call(aten.softmax.int, op.value(0), op.attribute("axis", -1))


@operator("LogSoftmax")
def log_softmax_flattened(build: Builder, op: Operation) -> Value:
    return _flattened(build, op, aten.log_softmax.int)


@operator("LogSoftmax", since=13)
def log_softmax(build: Builder, op: Operation) -> Value:
    return build.call(aten.log_softmax.int, op.value(0), op.attribute("axis", -1))


@operator("Hardmax", since=13)
def hardmax(build: Builder, op: Operation) -> Value:
    """1 at the first largest element along an axis, 0 elsewhere."""
    x = op.value(0)
    axis = normalized_axis(op.attribute("axis", -1), rank_of(x))
    size = shape_of(x)[axis]
    places = torch.arange(size).reshape([size if dim == axis else 1 for dim in range(rank_of(x))])
    largest = build.call(aten.argmax.default, x, axis, True)
    return build.call(aten.to.dtype, build.call(aten.eq.Tensor, largest, places), tensor_of(x).dtype)


def _flattened(build: Builder, op: Operation, target: object) -> Value:
    """Before version 13 all axes from `axis` on are one."""
    x = op.value(0)
    sizes = shape_of(x)
    axis = normalized_axis(op.attribute("axis", 1), len(sizes))
    if math.prod(sizes[axis + 1 :]) == 1:
        return build.call(target, x, axis)
    flat = build.call(aten.reshape.default, x, [math.prod(sizes[:axis]), math.prod(sizes[axis:])])
    return build.call(aten.reshape.default, build.call(target, flat, 1), list(sizes))
