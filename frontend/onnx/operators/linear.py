"""Matrix products."""

import torch
from torch.fx import Node

from prunus.frontend.builder import Value, dtype_of, rank_of, shape_of
from prunus.frontend.onnx.builder import Builder
from prunus.frontend.onnx.table import Operation, operator
from prunus.passes.graph import aten, is_op


@operator("MatMul")
def matmul(build: Builder, op: Operation) -> Value:
    """A constant matrix on the right makes it a linear layer.

    before:  MatMul(x, W)
    after:   linear(x, W.T)
    """
    x, y = op.value(0), op.value(1)
    if isinstance(x, Node) and _is_weight(y):
        return build.call(aten.linear.default, x, build.parameter(build.call(aten.t.default, y)))
    return build.call(aten.matmul.default, _weight(build, x), _weight(build, y))


@operator("Gemm")
def gemm(build: Builder, op: Operation) -> Value:
    """alpha * A @ B + beta * C, with A and B transposed on demand; a constant B makes it a linear layer."""
    a, b = op.value(0), op.value(1)
    if op.attribute("transA", 0):
        a = build.call(aten.t.default, a)
    alpha, beta, bias = op.attribute("alpha", 1.0), op.attribute("beta", 1.0), op.optional(2)
    if bias is not None and beta != 1.0:
        bias = build.call(aten.mul.Tensor, bias, beta)
    if isinstance(a, Node) and _is_weight(b):
        weight = b if op.attribute("transB", 0) else build.call(aten.t.default, b)
        if alpha != 1.0:
            weight = build.call(aten.mul.Tensor, weight, alpha)
        return _linear(build, a, weight, bias)
    if op.attribute("transB", 0):
        b = build.call(aten.t.default, b)
    product = build.call(aten.matmul.default, a, b)
    if alpha != 1.0:
        product = build.call(aten.mul.Tensor, product, alpha)
    return product if bias is None else build.call(aten.add.Tensor, product, bias)


@operator("Einsum")
def einsum(build: Builder, op: Operation) -> Value:
    return build.call(aten.einsum.default, op.attribute("equation"), [op.value(i) for i in range(len(op.inputs))])


def absorb_bias(build: Builder, x: Value, y: Value) -> Value | None:
    """Return a linear layer with a bias for the sum of one without and a constant vector, None where it is not one.

    before:  Add(linear(x, W), b)
    after:   linear(x, W, b)
    """
    for product, bias in ((x, y), (y, x)):
        if not is_op(product, aten.linear.default) or not isinstance(bias, torch.Tensor):
            continue
        assert isinstance(product, Node)
        if len(product.args) == 2 and build.used_once(product) and _is_bias(bias, shape_of(product)):
            return build.call(aten.linear.default, *product.args, build.parameter(bias.reshape(-1), "bias"))
    return None


def _linear(build: Builder, x: Value, weight: Value, bias: Value | None) -> Value:
    out_features = shape_of(weight)[0]
    shape = (*shape_of(x)[:-1], out_features)
    if bias is None or (isinstance(bias, torch.Tensor) and _is_bias(bias, shape)):
        vector = None if bias is None else build.call(aten.reshape.default, bias, [-1])
        extra = () if vector is None else (build.parameter(vector, "bias"),)
        return build.call(aten.linear.default, x, build.parameter(weight), *extra)
    return build.call(aten.add.Tensor, build.call(aten.linear.default, x, build.parameter(weight)), bias)


def _is_weight(value: Value) -> bool:
    """Tell whether a value is a matrix of weights: floats, or integers with their scales."""
    if is_op(value, torch.ops.prunus.dequantize_channels):
        return rank_of(value) == 2
    return isinstance(value, torch.Tensor) and rank_of(value) == 2 and dtype_of(value).is_floating_point


def _is_bias(bias: torch.Tensor, shape: tuple[int, ...]) -> bool:
    """Tell whether `bias` adds one number to each feature of a result of `shape`."""
    return bias.dim() > 0 and bias.dim() <= len(shape) and bias.shape[-1] == bias.numel() == shape[-1]


def _weight(build: Builder, value: Value) -> Value:
    """Make a constant matrix trainable; vectors and stacks of matrices are data (masks, tables of positions)."""
    return build.parameter(value) if _is_weight(value) else value
