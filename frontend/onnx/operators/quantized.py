"""Quantised operators: what their numbers mean in float32, between `quantize` and `dequantize`.

`passes/quantize/fold_qdq.py` makes integer operators of them. Activations are int8 in a graph: uint8 ones move by 128,
and so do their zero points. Weights keep their integers behind `dequantize_channels`.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch.fx import Node

from prunus.frontend.builder import Value, dtype_of, normalized_axis, rank_of
from prunus.frontend.onnx.builder import Builder
from prunus.frontend.onnx.table import Operation, find_rule, operator
from prunus.passes.graph import aten, is_op
from prunus.passes.operators import quantized, weight_only  # noqa: F401  registers the operators

prunus = torch.ops.prunus
MICROSOFT = "com.microsoft"
_SHIFT = 128
"""From int8 to uint8."""
_MOVES = (
    aten.max_pool1d.default, aten.max_pool2d.default, aten.reshape.default, aten.flatten.using_ints,
    aten.permute.default, aten.squeeze.dims, aten.unsqueeze.default, aten.slice.Tensor,
)  # fmt: skip
"""What keeps the order of numbers, whatever they are counted from."""
_FLOAT_VERSION = 13
"""Operator set whose float operators stand for quantised ones."""


@operator("QuantizeLinear")
@operator("QuantizeLinear", domain=MICROSOFT)
def quantize_linear(build: Builder, op: Operation) -> Value:
    """Numbers of one scale become int8, or uint8 by way of int8."""
    scale, zero_point = _constant(op, 1), op.constant(2)
    if scale.numel() != 1:
        raise op.refuse(f"activations with {scale.numel()} scales", do="quantise activations per tensor")
    if zero_point is None:
        zero_point = torch.zeros((), dtype=torch.uint8)
    return _quantize(build, op, op.value(0), scale, zero_point)


@operator("DequantizeLinear")
@operator("DequantizeLinear", domain=MICROSOFT)
def dequantize_linear(build: Builder, op: Operation) -> Value:
    """Activations of one scale come back by `dequantize`; constant weights stay integers, with scales by channel."""
    x, scale, zero_point = op.value(0), _constant(op, 1), op.constant(2)
    if op.attribute("block_size", 0):
        raise op.refuse("scales for blocks of a channel")
    axis = normalized_axis(op.attribute("axis", 1), rank_of(x)) if scale.numel() > 1 else 0
    return _dequantize(build, op, x, scale, zero_point, axis)


@operator("QLinearConv", since=10)
def qlinear_conv(build: Builder, op: Operation) -> Value:
    """x, scale, zero point; W, scale, zero point; scale and zero point of y; bias in steps of the sum."""
    x = _dequantize(build, op, op.value(0), _constant(op, 1), op.constant(2))
    weight = _dequantize(build, op, op.value(3), _constant(op, 4), op.constant(5))
    bias = _bias(op, 8, _constant(op, 1).double() * _constant(op, 4).double())
    return _between(build, op, "Conv", [x, weight, bias], 6)


@operator("QLinearMatMul", since=10)
def qlinear_matmul(build: Builder, op: Operation) -> Value:
    a = _dequantize(build, op, op.value(0), _constant(op, 1), op.constant(2))
    b = op.value(3)
    axis = rank_of(b) - 1
    return _between(build, op, "MatMul", [a, _dequantize(build, op, b, _constant(op, 4), op.constant(5), axis)], 6)


@operator("QGemm", domain=MICROSOFT)
def qgemm(build: Builder, op: Operation) -> Value:
    """alpha * A @ B + C, in float32 where the result has no scale; alpha goes into the weights' scale."""
    scales = _constant(op, 4) * op.attribute("alpha", 1.0)
    a = _dequantize(build, op, op.value(0), _constant(op, 1), op.constant(2))
    axis = 0 if op.attribute("transB", 0) else 1
    b = _dequantize(build, op, op.value(3), scales, op.constant(5), axis)
    bias = _bias(op, 6, _constant(op, 1).double() * scales.double())
    attributes = {key: op.attribute(key, 0) for key in ("transA", "transB")}
    return _between(build, replace(op, attributes=attributes), "Gemm", [a, b, bias], 7)


@operator("QLinearAdd", domain=MICROSOFT)
def qlinear_add(build: Builder, op: Operation) -> Value:
    return _between(build, op, "Add", [_triple(build, op, 0), _triple(build, op, 3)], 6)


@operator("QLinearMul", domain=MICROSOFT)
def qlinear_mul(build: Builder, op: Operation) -> Value:
    return _between(build, op, "Mul", [_triple(build, op, 0), _triple(build, op, 3)], 6)


@operator("QLinearSigmoid", domain=MICROSOFT)
def qlinear_sigmoid(build: Builder, op: Operation) -> Value:
    return _between(build, op, "Sigmoid", [_triple(build, op, 0)], 3)


@operator("QLinearLeakyRelu", domain=MICROSOFT)
def qlinear_leaky_relu(build: Builder, op: Operation) -> Value:
    return _between(build, op, "LeakyRelu", [_triple(build, op, 0)], 3)


@operator("QLinearSoftmax", domain=MICROSOFT)
def qlinear_softmax(build: Builder, op: Operation) -> Value:
    return _between(build, op, "Softmax", [_triple(build, op, 0)], 3)


@operator("QLinearAveragePool", domain=MICROSOFT)
def qlinear_average_pool(build: Builder, op: Operation) -> Value:
    return _between(build, _channels_first(op), "AveragePool", [_triple(build, op, 0)], 3)


@operator("QLinearGlobalAveragePool", domain=MICROSOFT)
def qlinear_global_average_pool(build: Builder, op: Operation) -> Value:
    return _between(build, _channels_first(op), "GlobalAveragePool", [_triple(build, op, 0)], 3)


@operator("QLinearReduceMean", domain=MICROSOFT)
def qlinear_reduce_mean(build: Builder, op: Operation) -> Value:
    return _between(build, op, "ReduceMean", [_triple(build, op, 0)], 3)


@operator("QLinearConcat", domain=MICROSOFT)
def qlinear_concat(build: Builder, op: Operation) -> Value:
    """Scale and zero point of y come first, then three inputs for each part."""
    parts = [_triple(build, op, index) for index in range(2, len(op.inputs), 3)]
    return _between(build, op, "Concat", parts, 0)


def _between(build: Builder, op: Operation, float_type: str, operands: Sequence[Value | None], result: int) -> Value:
    """Apply a float operator; inputs `result` and the one after it are scale and zero point of what comes out."""
    rule = find_rule("", float_type, _FLOAT_VERSION)
    assert rule is not None
    y = rule(build, replace(op, op_type=float_type, domain="", inputs=tuple(operands)))
    assert isinstance(y, torch.Tensor | Node)
    scale, zero_point = op.constant(result), op.constant(result + 1)
    if scale is None or zero_point is None:
        return y
    return _quantize(build, op, y, scale, zero_point)


def _triple(build: Builder, op: Operation, index: int) -> Value:
    """Return the real numbers of three inputs: integers, scale, zero point."""
    return _dequantize(build, op, op.value(index), _constant(op, index + 1), op.constant(index + 2))


def _quantize(build: Builder, op: Operation, x: Value, scale: torch.Tensor, zero_point: torch.Tensor) -> Value:
    if zero_point.dtype not in (torch.int8, torch.uint8):
        raise op.refuse(f"activations of {zero_point.dtype}", do="quantise to int8 or uint8")
    unsigned = zero_point.dtype == torch.uint8
    steps = build.call(
        prunus.quantize.default, x, float(scale.reshape(())), int(zero_point.reshape(())) - _SHIFT * unsigned
    )
    return _as_uint8(build, steps) if unsigned else steps


def _dequantize(
    build: Builder, op: Operation, x: Value, scale: torch.Tensor, zero_point: torch.Tensor | None, axis: int = 0
) -> Value:
    """Return real numbers: (x - zero point) * scale.

    Args:
        axis: the dimension of several scales.
    """
    if dtype_of(x) not in (torch.int8, torch.uint8, torch.int32):
        raise op.refuse(f"integers of {dtype_of(x)}", do="quantise to int8 or uint8")
    if isinstance(x, torch.Tensor):
        return _constant_numbers(build, op, x, scale, zero_point, axis)
    if scale.numel() == 1 and dtype_of(x) != torch.int32:
        shift = 0 if zero_point is None else int(zero_point.reshape(()))
        steps = _as_int8(build, x) if dtype_of(x) == torch.uint8 else x
        shift -= _SHIFT * (dtype_of(x) == torch.uint8)
        return build.call(prunus.dequantize.default, steps, float(scale.reshape(())), shift)
    real = build.call(aten._to_copy.default, x, dtype=torch.float32)
    if zero_point is not None:
        real = build.call(aten.sub.Tensor, real, _along(zero_point.float(), axis, rank_of(x)))
    return build.call(aten.mul.Tensor, real, _along(scale, axis, rank_of(x)))


def _constant_numbers(
    build: Builder, op: Operation, x: torch.Tensor, scale: torch.Tensor, zero_point: torch.Tensor | None, axis: int
) -> Value:
    """Keep the integers of weights; biases, and weights beyond int8 around their zero point, become real numbers."""
    steps = x.to(torch.int32)
    if zero_point is not None:
        steps = steps - _along(zero_point.to(torch.int32), axis, x.dim())
    fits = int(steps.min()) >= -_SHIFT and int(steps.max()) < _SHIFT
    if x.dtype == torch.int32 or x.dim() < 2 or not fits:
        return steps.float() * _along(scale, axis, x.dim())
    unmoved = x.dtype == torch.int8 and torch.equal(steps, x.to(torch.int32))
    node = build.constants.node(x if unmoved else steps.to(torch.int8), name=f"{op.module}.weight_int8")
    scales = scale.reshape(-1).expand(x.shape[axis]).contiguous()
    return build.call(prunus.dequantize_channels.default, node, scales, axis)


def _bias(op: Operation, index: int, scale: torch.Tensor) -> torch.Tensor | None:
    """Return a bias, stored in steps of a layer's sums, as real numbers."""
    steps = op.constant(index)
    return None if steps is None else (steps.double() * scale.reshape(-1)).float()


def _as_uint8(build: Builder, x: Value) -> Value:
    wide = build.call(aten.add.Tensor, build.call(aten._to_copy.default, x, dtype=torch.int16), _SHIFT)
    return build.call(aten._to_copy.default, wide, dtype=torch.uint8)


def _as_int8(build: Builder, x: Value) -> Value:
    """Return uint8 numbers less 128: those that `_as_uint8` has made come from int8, however they were moved since."""
    if isinstance(x, Node):
        steps = _behind_uint8(x)
        if steps is not None:
            return steps
        if is_op(x, *_MOVES):
            source = x.args[0]
            assert isinstance(source, Node)
            return build.call(x.target, _as_int8(build, source), *x.args[1:], **x.kwargs)
        if is_op(x, aten.cat.default):
            return build.call(aten.cat.default, [_as_int8(build, part) for part in x.all_input_nodes], *x.args[1:])
    moved = build.call(aten.sub.Tensor, build.call(aten._to_copy.default, x, dtype=torch.int16), _SHIFT)
    return build.call(aten._to_copy.default, moved, dtype=torch.int8)


def _behind_uint8(x: Node) -> Node | None:
    """Return the int8 value that `_as_uint8` has made `x` of, None for any other."""
    wide = x.args[0] if is_op(x, aten._to_copy.default) else None
    if not isinstance(wide, Node) or not is_op(wide, aten.add.Tensor) or wide.args[1] != _SHIFT:
        return None
    narrow = wide.args[0]
    if not isinstance(narrow, Node) or not is_op(narrow, aten._to_copy.default):
        return None
    (steps,) = narrow.all_input_nodes
    return steps if dtype_of(steps) == torch.int8 else None


def _channels_first(op: Operation) -> Operation:
    if op.attribute("channels_last", 0):
        raise op.refuse("channels in the last dimension", do="export the model with channels_last=0")
    return op


def _along(values: torch.Tensor, axis: int, rank: int) -> torch.Tensor:
    """Lay one number, or one for each index of a dimension, beside a tensor of `rank` dimensions."""
    return values.reshape(()) if values.numel() == 1 else values.reshape(-1, *[1] * (rank - axis - 1))


def _constant(op: Operation, index: int) -> torch.Tensor:
    found = op.constant(index)
    if found is None:
        raise op.refuse(f"input {index} is left out", do="check the file with onnx.checker.check_model")
    return found
