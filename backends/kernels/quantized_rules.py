"""Element-wise integer operators as expressions: the steps of `passes/operators/quantized.py`, one by one."""

import torch
from torch.fx import Node

from prunus.backends.kernels.expression import Apply, Expression
from prunus.backends.kernels.scalar_rules import cast, number, rule
from prunus.passes.operators.quantized import INT8_HIGH, INT8_LOW

quantized = torch.ops.prunus


def _float(op: str, *arguments: Expression) -> Expression:
    return Apply(op, arguments, "float32")


def _int(op: str, *arguments: Expression) -> Expression:
    return Apply(op, arguments, "int32")


def _shifted(x: Expression, zero_point: int) -> Expression:
    """int32(x) - zero_point."""
    wide = cast(x, "int32")
    return _int("sub", wide, number(zero_point, "int32")) if zero_point else wide


def _scaled(x: Expression, scale: float) -> Expression:
    """float32(x) * scale, rounded whatever is added to it."""
    return _float("rounded", _float("mul", cast(x, "float32"), number(scale, "float32")))


def _to_int8(steps: Expression, zero_point: int, low: int, high: int) -> Expression:
    """clamp(rint(steps) + zero_point, low, high), the clamp first: it makes no difference between integers."""
    bounded = _float("max", steps, number(low - zero_point, "float32"))
    bounded = _float("min", bounded, number(high - zero_point, "float32"))
    whole = _int("nearest_int", bounded)
    moved = _int("add", whole, number(zero_point, "int32")) if zero_point else whole
    return cast(moved, "int8")


@rule(quantized.quantize.default)
def _quantize(node: Node, x: Expression, scale: float, zero_point: int) -> Expression:
    return _to_int8(_scaled(x, 1 / scale), zero_point, INT8_LOW, INT8_HIGH)


@rule(quantized.dequantize.default)
def _dequantize(node: Node, x: Expression, scale: float, zero_point: int) -> Expression:
    return _scaled(_shifted(x, zero_point), scale)


@rule(quantized.qadd.default)
def _qadd(
    node: Node,
    a: Expression,
    b: Expression,
    a_scale: float,
    b_scale: float,
    a_zero_point: int,
    b_zero_point: int,
    zero_point: int,
    low: int,
    high: int,
) -> Expression:
    left, right = _scaled(_shifted(a, a_zero_point), a_scale), _scaled(_shifted(b, b_zero_point), b_scale)
    return _to_int8(_float("add", left, right), zero_point, low, high)


@rule(quantized.qmul.default)
def _qmul(
    node: Node,
    a: Expression,
    b: Expression,
    scale: float,
    a_zero_point: int,
    b_zero_point: int,
    zero_point: int,
    low: int,
    high: int,
) -> Expression:
    product = _int("mul", _shifted(a, a_zero_point), _shifted(b, b_zero_point))
    return _to_int8(_scaled(product, scale), zero_point, low, high)
