"""Operators that work on each element: arithmetic, comparisons, logic, casts."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
from torch.fx import Node

from prunus.frontend.builder import GraphBuilder, Value, arithmetic, dtype_of
from prunus.frontend.onnx.builder import Builder
from prunus.frontend.onnx.operators.linear import absorb_bias
from prunus.frontend.onnx.table import Operation, Rule, operator
from prunus.frontend.onnx.tensors import torch_dtype
from prunus.passes.graph import aten

_UNARY = {
    "Abs": aten.abs.default,
    "Acos": aten.acos.default,
    "Acosh": aten.acosh.default,
    "Asin": aten.asin.default,
    "Asinh": aten.asinh.default,
    "Atan": aten.atan.default,
    "Atanh": aten.atanh.default,
    "BitwiseNot": aten.bitwise_not.default,
    "Ceil": aten.ceil.default,
    "Cos": aten.cos.default,
    "Cosh": aten.cosh.default,
    "Erf": aten.erf.default,
    "Exp": aten.exp.default,
    "Floor": aten.floor.default,
    "IsNaN": aten.isnan.default,
    "Log": aten.log.default,
    "Neg": aten.neg.default,
    "Not": aten.logical_not.default,
    "Reciprocal": aten.reciprocal.default,
    "Round": aten.round.default,
    "Sign": aten.sign.default,
    "Sin": aten.sin.default,
    "Sinh": aten.sinh.default,
    "Sqrt": aten.sqrt.default,
    "Tan": aten.tan.default,
}
_LOGIC = {
    "And": aten.logical_and.default,
    "Or": aten.logical_or.default,
    "Xor": aten.logical_xor.default,
    "BitwiseAnd": aten.bitwise_and.Tensor,
    "BitwiseOr": aten.bitwise_or.Tensor,
    "BitwiseXor": aten.bitwise_xor.Tensor,
}
_COMPARISONS = {
    "Equal": aten.eq,
    "Greater": aten.gt,
    "GreaterOrEqual": aten.ge,
    "Less": aten.lt,
    "LessOrEqual": aten.le,
}


def _unary(target: Any) -> Rule:
    return lambda build, op: build.call(target, op.value(0))


def _pair(target: Any) -> Rule:
    return lambda build, op: build.call(target, op.value(0), op.value(1))


def _comparison(packet: Any) -> Rule:
    return lambda build, op: arithmetic.compare(build, packet, op.value(0), op.value(1))


for _name, _target in _UNARY.items():
    operator(_name)(_unary(_target))
for _name, _target in _LOGIC.items():
    operator(_name)(_pair(_target))
for _name, _packet in _COMPARISONS.items():
    operator(_name)(_comparison(_packet))


@operator("Add")
def add(build: Builder, op: Operation) -> Value:
    linear = absorb_bias(build, op.value(0), op.value(1))
    return linear if linear is not None else arithmetic.add(build, op.value(0), op.value(1))


@operator("Mul")
def mul(build: Builder, op: Operation) -> Value:
    return arithmetic.multiply(build, op.value(0), op.value(1))


@operator("Sub")
def sub(build: Builder, op: Operation) -> Value:
    return arithmetic.subtract(build, op.value(0), op.value(1))


@operator("Div")
def div(build: Builder, op: Operation) -> Value:
    """Integers are divided towards zero."""
    x, y = op.value(0), op.value(1)
    if not dtype_of(x).is_floating_point:
        return build.call(aten.div.Tensor_mode, x, arithmetic.number_or(y, x), rounding_mode="trunc")
    return arithmetic.divide(build, x, y)


@operator("Mod")
def mod(build: Builder, op: Operation) -> Value:
    x, y = op.value(0), op.value(1)
    target = aten.fmod.Tensor if op.attribute("fmod", 0) else aten.remainder.Tensor
    return build.call(target, x, y)


@operator("Pow")
def power(build: Builder, op: Operation) -> Value:
    """The result has the base's type."""
    x, y = op.value(0), op.value(1)
    if isinstance(x, Node) and isinstance(y, torch.Tensor) and y.numel() == 1:
        result = build.call(aten.pow.Tensor_Scalar, x, y.item())
    else:
        result = build.call(aten.pow.Tensor_Tensor, x, y)
    return arithmetic.cast(build, result, dtype_of(x))


@operator("BitShift")
def bit_shift(build: Builder, op: Operation) -> Value:
    left = op.attribute("direction") == "LEFT"
    target = aten.bitwise_left_shift.Tensor if left else aten.bitwise_right_shift.Tensor
    return build.call(target, op.value(0), op.value(1))


@operator("IsInf")
def is_inf(build: Builder, op: Operation) -> Value:
    positive, negative = op.attribute("detect_positive", 1), op.attribute("detect_negative", 1)
    if positive and negative:
        return build.call(aten.isinf.default, op.value(0))
    return build.call(aten.eq.Scalar, op.value(0), float("inf") if positive else float("-inf"))


def _variadic(combine: Callable[[GraphBuilder, Value, Value], Value]) -> Rule:
    return lambda build, op: reduce(lambda x, y: combine(build, x, y), (op.value(i) for i in range(len(op.inputs))))


operator("Max")(_variadic(arithmetic.maximum))
operator("Min")(_variadic(arithmetic.minimum))
operator("Sum")(_variadic(arithmetic.add))


@operator("Mean")
def mean(build: Builder, op: Operation) -> Value:
    total = _variadic(arithmetic.add)(build, op)
    assert isinstance(total, (torch.Tensor, Node))
    return build.call(aten.div.Tensor, total, len(op.inputs))


@operator("Where")
def where(build: Builder, op: Operation) -> Value:
    return arithmetic.where(build, op.value(0), op.value(1), op.value(2))


@operator("Cast")
def cast(build: Builder, op: Operation) -> Value:
    return arithmetic.cast(build, op.value(0), torch_dtype(op.attribute("to"), str(op)))


@operator("CastLike")
def cast_like(build: Builder, op: Operation) -> Value:
    return arithmetic.cast(build, op.value(0), dtype_of(op.value(1)))
