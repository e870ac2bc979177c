"""Normalisation layers."""

import math

import torch

from prunus.frontend.builder import Value, normalized_axis, rank_of, shape_of
from prunus.frontend.onnx.builder import Builder
from prunus.frontend.onnx.table import Operation, operator
from prunus.passes.graph import aten

_EPSILON = 1e-5


@operator("BatchNormalization")
def batch_norm(build: Builder, op: Operation) -> Value:
    """ONNX counts momentum as the share of the old statistics, PyTorch as that of the new ones."""
    if op.attribute("training_mode", 0):
        raise op.refuse("it is in training mode", do="export the model after model.eval()")
    momentum = round(1 - op.attribute("momentum", 0.9), 6)
    return build.call(
        aten.batch_norm.default, op.value(0), build.parameter(op.value(1)), build.parameter(op.value(2), "bias"),
        op.value(3), op.value(4), False, momentum, op.attribute("epsilon", _EPSILON), False,
    )  # fmt: skip


@operator("InstanceNormalization")
def instance_norm(build: Builder, op: Operation) -> Value:
    """Scales of one and biases of zero stand for a layer without any."""
    weight, bias = op.value(1), op.value(2)
    if all(isinstance(v, torch.Tensor) and bool((v == neutral).all()) for v, neutral in ((weight, 1), (bias, 0))):
        affine: tuple[Value | None, Value | None] = (None, None)
    else:
        affine = (build.parameter(weight), build.parameter(bias, "bias"))
    epsilon = op.attribute("epsilon", _EPSILON)
    return build.call(aten.instance_norm.default, op.value(0), *affine, None, None, True, 0.1, epsilon, False)


@operator("LayerNormalization")
def layer_norm(build: Builder, op: Operation) -> Value:
    x = op.value(0)
    normalized = shape_of(x)[normalized_axis(op.attribute("axis", -1), rank_of(x)) :]
    weight = build.parameter(_expanded(build, op.value(1), normalized))
    bias = op.optional(2)
    bias = None if bias is None else build.parameter(_expanded(build, bias, normalized), "bias")
    return build.call(aten.layer_norm.default, x, list(normalized), weight, bias, op.attribute("epsilon", _EPSILON))


@operator("SimplifiedLayerNormalization")
@operator("RMSNormalization", since=23)
def rms_norm(build: Builder, op: Operation) -> Value:
    x = op.value(0)
    normalized = shape_of(x)[normalized_axis(op.attribute("axis", -1), rank_of(x)) :]
    weight = build.parameter(_expanded(build, op.value(1), normalized))
    return build.call(aten.rms_norm.default, x, list(normalized), weight, op.attribute("epsilon", _EPSILON))


@operator("GroupNormalization", since=18)
def group_norm_by_group(build: Builder, op: Operation) -> Value:
    """Version 18 has one scale and bias a group, PyTorch one a channel."""
    channels, groups = shape_of(op.value(0))[1], op.attribute("num_groups")
    weight = build.call(aten.repeat_interleave.self_int, op.value(1), channels // groups)
    bias = build.call(aten.repeat_interleave.self_int, op.value(2), channels // groups)
    return _group_norm(build, op, weight, bias)


@operator("GroupNormalization", since=21)
def group_norm(build: Builder, op: Operation) -> Value:
    return _group_norm(build, op, op.value(1), op.value(2))


def _group_norm(build: Builder, op: Operation, weight: Value, bias: Value) -> Value:
    return build.call(
        aten.group_norm.default, op.value(0), op.attribute("num_groups"), build.parameter(weight),
        build.parameter(bias, "bias"), op.attribute("epsilon", _EPSILON),
    )  # fmt: skip


@operator("LRN")
def local_response_norm(build: Builder, op: Operation) -> Value:
    """x / (bias + alpha / size * sum of the squares of `size` neighbouring channels) ** beta."""
    x, size = op.value(0), op.attribute("size")
    squares = build.call(aten.mul.Tensor, x, x)
    sizes = shape_of(x)
    stacked = build.call(aten.reshape.default, squares, [sizes[0], 1, sizes[1], math.prod(sizes[2:])])
    before, after = (size - 1) // 2, size // 2
    padded = build.call(aten.constant_pad_nd.default, stacked, [0, 0, before, after], 0.0)
    means = build.call(
        aten.reshape.default, build.call(aten.avg_pool2d.default, padded, [size, 1], [1, 1]), list(sizes)
    )
    scaled = build.call(aten.mul.Tensor, means, op.attribute("alpha", 1e-4))
    base = build.call(aten.add.Tensor, scaled, op.attribute("bias", 1.0))
    return build.call(aten.div.Tensor, x, build.call(aten.pow.Tensor_Scalar, base, op.attribute("beta", 0.75)))


@operator("LpNormalization")
def lp_normalization(build: Builder, op: Operation) -> Value:
    x = op.value(0)
    norm = build.call(aten.linalg_vector_norm.default, x, op.attribute("p", 2), [op.attribute("axis", -1)], True)
    return build.call(aten.div.Tensor, x, norm)


@operator("MeanVarianceNormalization")
def mean_variance_normalization(build: Builder, op: Operation) -> Value:
    """(x - mean) / (standard deviation + 1e-9), the constant of the specification's function body."""
    x, axes = op.value(0), list(op.attribute("axes", [0, 2, 3]))
    mean = build.call(aten.mean.dim, x, axes, True)
    centred = build.call(aten.sub.Tensor, x, mean)
    variance = build.call(aten.mean.dim, build.call(aten.mul.Tensor, centred, centred), axes, True)
    deviation = build.call(aten.add.Tensor, build.call(aten.sqrt.default, variance), 1e-9)
    return build.call(aten.div.Tensor, centred, deviation)


@operator("Dropout")
def dropout(build: Builder, op: Operation) -> Value:
    """Kept, and switched off, so that a model can be trained further."""
    training = op.constant(2)
    if training is not None and bool(training):
        raise op.refuse("it is in training mode", do="export the model after model.eval()")
    ratio = op.constant(1)
    share = float(ratio) if ratio is not None else op.attribute("ratio", 0.5)
    x = op.value(0)
    return x if isinstance(x, torch.Tensor) else build.call(aten.dropout.default, x, share, False)


def _expanded(build: Builder, weight: Value, shape: tuple[int, ...]) -> Value:
    return weight if shape_of(weight) == shape else build.call(aten.expand.default, weight, list(shape))
