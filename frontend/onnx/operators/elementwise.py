"""Operators that work on each element: arithmetic, comparisons, logic, casts."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
from torch.fx import Node

from prunus.frontend.onnx.builder import Builder
from prunus.frontend.onnx.operators.linear import absorb_bias
from prunus.frontend.onnx.table import Operation, Rule, operator
from prunus.frontend.onnx.tensors import torch_dtype
from prunus.frontend.values import Value, dtype_of, rank_of, scalar_of
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
    "Equal": (aten.eq, aten.eq),
    "Greater": (aten.gt, aten.lt),
    "GreaterOrEqual": (aten.ge, aten.le),
    "Less": (aten.lt, aten.gt),
    "LessOrEqual": (aten.le, aten.ge),
}


def _unary(target: Any) -> Rule:
    return lambda build, op: build.call(target, op.value(0))


def _pair(target: Any) -> Rule:
    return lambda build, op: build.call(target, op.value(0), op.value(1))


def _comparison(packet: Any, mirrored: Any) -> Rule:
    """A number stands on the right: `0 < x` becomes `x > 0`."""

    def rule(build: Builder, op: Operation) -> Value:
        x, y = op.value(0), op.value(1)
        if isinstance(x, Node) and (number := scalar_of(y, x)) is not None:
            return build.call(packet.Scalar, x, number)
        if isinstance(y, Node) and (number := scalar_of(x, y)) is not None:
            return build.call(mirrored.Scalar, y, number)
        return build.call(packet.Tensor, x, y)

    return rule


for _name, _target in _UNARY.items():
    operator(_name)(_unary(_target))
for _name, _target in _LOGIC.items():
    operator(_name)(_pair(_target))
for _name, (_packet, _mirrored) in _COMPARISONS.items():
    operator(_name)(_comparison(_packet, _mirrored))


def add_values(build: Builder, x: Value, y: Value) -> Value:
    """Return `x + y`, numbers on the right."""
    return _commutative(build, aten.add.Tensor, x, y)


def multiply_values(build: Builder, x: Value, y: Value) -> Value:
    """Return `x * y`, numbers on the right."""
    return _commutative(build, aten.mul.Tensor, x, y)


def _commutative(build: Builder, target: Any, x: Value, y: Value) -> Value:
    if isinstance(y, Node) and (number := scalar_of(x, y)) is not None:
        return build.call(target, y, number)
    if isinstance(x, Node) and (number := scalar_of(y, x)) is not None:
        return build.call(target, x, number)
    return build.call(target, x, y)


@operator("Add")
def add(build: Builder, op: Operation) -> Value:
    linear = absorb_bias(build, op.value(0), op.value(1))
    return linear if linear is not None else add_values(build, op.value(0), op.value(1))


@operator("Mul")
def mul(build: Builder, op: Operation) -> Value:
    return multiply_values(build, op.value(0), op.value(1))


@operator("Sub")
def sub(build: Builder, op: Operation) -> Value:
    x, y = op.value(0), op.value(1)
    if isinstance(y, Node) and (number := scalar_of(x, y)) is not None:
        return build.call(aten.rsub.Scalar, y, number)
    return build.call(aten.sub.Tensor, x, _number_or(y, x))


@operator("Div")
def div(build: Builder, op: Operation) -> Value:
    """Integers are divided towards zero."""
    x, y = op.value(0), op.value(1)
    if not dtype_of(x).is_floating_point:
        return build.call(aten.div.Tensor_mode, x, _number_or(y, x), rounding_mode="trunc")
    if isinstance(y, Node) and scalar_of(x, y) == 1:
        return build.call(aten.reciprocal.default, y)
    return build.call(aten.div.Tensor, x, _number_or(y, x))


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
    return cast_value(build, result, dtype_of(x))


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


def _variadic(combine: Callable[[Builder, Value, Value], Value]) -> Rule:
    return lambda build, op: reduce(lambda x, y: combine(build, x, y), (op.value(i) for i in range(len(op.inputs))))


def _maximum(build: Builder, x: Value, y: Value) -> Value:
    return _bound(build, x, y, aten.maximum.default, lambda number: (number, None))


def _minimum(build: Builder, x: Value, y: Value) -> Value:
    return _bound(build, x, y, aten.minimum.default, lambda number: (None, number))


def _bound(build: Builder, x: Value, y: Value, target: Any, bounds: Callable[[Any], tuple[Any, Any]]) -> Value:
    """A number as the other side makes it a clamp."""
    for value, other in ((x, y), (y, x)):
        if isinstance(value, Node) and (number := scalar_of(other, value)) is not None:
            return build.call(aten.clamp.default, value, *bounds(number))
    return build.call(target, x, y)


operator("Max")(_variadic(_maximum))
operator("Min")(_variadic(_minimum))
operator("Sum")(_variadic(add_values))


@operator("Mean")
def mean(build: Builder, op: Operation) -> Value:
    total = _variadic(add_values)(build, op)
    assert isinstance(total, (torch.Tensor, Node))
    return build.call(aten.div.Tensor, total, len(op.inputs))


@operator("Where")
def where(build: Builder, op: Operation) -> Value:
    condition, x, y = op.value(0), op.value(1), op.value(2)
    if isinstance(condition, Node) and rank_of(condition) >= max(rank_of(x), rank_of(y)):
        if isinstance(y, torch.Tensor) and y.numel() == 1:
            return build.call(aten.where.ScalarOther, condition, x, y.item())
        if isinstance(x, torch.Tensor) and x.numel() == 1:
            return build.call(aten.where.ScalarSelf, condition, x.item(), y)
    return build.call(aten.where.self, condition, x, y)


@operator("Cast")
def cast(build: Builder, op: Operation) -> Value:
    return cast_value(build, op.value(0), torch_dtype(op.attribute("to"), str(op)))


@operator("CastLike")
def cast_like(build: Builder, op: Operation) -> Value:
    return cast_value(build, op.value(0), dtype_of(op.value(1)))


def cast_value(build: Builder, x: Value, dtype: torch.dtype) -> Value:
    """Return `x` as `dtype`, itself where it is that already."""
    return x if dtype_of(x) == dtype else build.call(aten.to.dtype, x, dtype)


def _number_or(value: Value, beside: Value) -> Value | float | int | bool:
    """Return a one-element constant as a number where the other side is a node."""
    number = scalar_of(value, beside) if isinstance(beside, Node) else None
    return value if number is None else number
