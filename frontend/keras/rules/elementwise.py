"""Operations of `keras.ops` that work on each element."""

from collections.abc import Callable
from typing import Any

import torch
from torch.fx import Node

from prunus.frontend.builder import Value, arithmetic, dtype_of, shape_of
from prunus.frontend.keras.builder import Builder
from prunus.frontend.keras.table import Call, Rule, rule
from prunus.frontend.keras.tensors import torch_dtype
from prunus.passes.graph import aten

_UNARY = {
    "Abs": aten.abs.default,
    "Absolute": aten.abs.default,
    "Arccos": aten.acos.default,
    "Arccosh": aten.acosh.default,
    "Arcsin": aten.asin.default,
    "Arcsinh": aten.asinh.default,
    "Arctan": aten.atan.default,
    "Arctanh": aten.atanh.default,
    "BitwiseInvert": aten.bitwise_not.default,
    "BitwiseNot": aten.bitwise_not.default,
    "Ceil": aten.ceil.default,
    "Cos": aten.cos.default,
    "Cosh": aten.cosh.default,
    "Erf": aten.erf.default,
    "Erfc": aten.erfc.default,
    "Exp": aten.exp.default,
    "Exp2": aten.exp2.default,
    "Expm1": aten.expm1.default,
    "Floor": aten.floor.default,
    "Isfinite": aten.isfinite.default,
    "Isinf": aten.isinf.default,
    "Isnan": aten.isnan.default,
    "Log": aten.log.default,
    "Log10": aten.log10.default,
    "Log1p": aten.log1p.default,
    "Log2": aten.log2.default,
    "LogicalNot": aten.logical_not.default,
    "Negative": aten.neg.default,
    "Reciprocal": aten.reciprocal.default,
    "Rsqrt": aten.rsqrt.default,
    "Sign": aten.sign.default,
    "Sin": aten.sin.default,
    "Sinh": aten.sinh.default,
    "Sqrt": aten.sqrt.default,
    "Tan": aten.tan.default,
    "Trunc": aten.trunc.default,
}
_BINARY: dict[str, Callable[[Any, Value, Value], Value]] = {
    "Add": arithmetic.add,
    "Subtract": arithmetic.subtract,
    "Multiply": arithmetic.multiply,
    "Divide": arithmetic.divide,
    "TrueDivide": arithmetic.divide,
    "Maximum": arithmetic.maximum,
    "Minimum": arithmetic.minimum,
}
_COMPARISONS = {
    "Equal": aten.eq,
    "Greater": aten.gt,
    "GreaterEqual": aten.ge,
    "Less": aten.lt,
    "LessEqual": aten.le,
    "NotEqual": aten.ne,
}
_PAIRS = {
    "Arctan2": aten.atan2.default,
    "BitwiseAnd": aten.bitwise_and.Tensor,
    "BitwiseOr": aten.bitwise_or.Tensor,
    "BitwiseXor": aten.bitwise_xor.Tensor,
    "LogicalAnd": aten.logical_and.default,
    "LogicalOr": aten.logical_or.default,
    "LogicalXor": aten.logical_xor.default,
    "Mod": aten.remainder.Tensor,
}


def both(build: Builder, call: Call) -> tuple[Value, Value]:
    """Return the two arguments as values, numbers in the dtype that they promote to beside the other one."""
    x, y = call.argument(0, "x1"), call.argument(1, "x2")
    left, right = build.value(x), build.value(y)
    if isinstance(left, (bool, int, float)):
        return build.value(left, beside=right), right
    return left, build.value(right, beside=left)


def _unary(target: Any) -> Rule:
    return lambda build, call: build.call(target, call.x)


def _binary(function: Callable[[Any, Value, Value], Value]) -> Rule:
    return lambda build, call: function(build, *both(build, call))


def _pair(target: Any) -> Rule:
    return lambda build, call: build.call(target, *both(build, call))


def _comparison(packet: Any) -> Rule:
    return lambda build, call: arithmetic.compare(build, packet, *both(build, call))


for _name, _target in _UNARY.items():
    rule(f"ops.{_name}")(_unary(_target))
for _name, _function in _BINARY.items():
    rule(f"ops.{_name}")(_binary(_function))
for _name, _packet in _COMPARISONS.items():
    rule(f"ops.{_name}")(_comparison(_packet))
for _name, _target in _PAIRS.items():
    rule(f"ops.{_name}")(_pair(_target))


@rule("ops.Square")
def square(build: Builder, call: Call) -> Value:
    return build.call(aten.mul.Tensor, call.x, call.x)


@rule("ops.Round")
def rounded(build: Builder, call: Call) -> Value:
    if call.decimals:
        raise call.refuse(f"rounding to {call.decimals} decimals")
    return build.call(aten.round.default, call.x)


@rule("ops.Power")
def power(build: Builder, call: Call) -> Value:
    x, y = both(build, call)
    if isinstance(x, Node) and isinstance(y, torch.Tensor) and y.numel() == 1:
        return build.call(aten.pow.Tensor_Scalar, x, y.item())
    return build.call(aten.pow.Tensor_Tensor, x, y)


@rule("ops.FloorDivide")
def floor_divide(build: Builder, call: Call) -> Value:
    x, y = both(build, call)
    return build.call(aten.div.Tensor_mode, x, arithmetic.number_or(y, x), rounding_mode="floor")


@rule("ops.DivideNoNan")
def divide_no_nan(build: Builder, call: Call) -> Value:
    """x / y, zero where y is."""
    x, y = both(build, call)
    zero = torch.zeros((), dtype=dtype_of(x))
    return arithmetic.where(build, arithmetic.compare(build, aten.ne, y, zero), arithmetic.divide(build, x, y), zero)


@rule("ops.Clip")
def clip(build: Builder, call: Call) -> Value:
    bounds = [build.value(bound) for bound in (call.x_min, call.x_max)]
    if all(isinstance(bound, (int, float)) for bound in bounds):
        return build.call(aten.clamp.default, call.x, *bounds)
    low, high = (build.value(bound, beside=call.x) for bound in bounds)
    return arithmetic.minimum(build, arithmetic.maximum(build, call.x, low), high)


@rule("ops.Where")
def where(build: Builder, call: Call) -> Value:
    if call.argument(1, "x1") is None:
        raise call.refuse("where without values: the shape of its result depends on them")
    x, y = build.value(call.argument(1, "x1")), build.value(call.argument(2, "x2"))
    number = isinstance(x, (bool, int, float))
    if number and isinstance(y, (bool, int, float)):
        x, y = torch.tensor(x), torch.tensor(y)
    elif number:
        x = build.value(x, beside=y)
    return arithmetic.where(build, arithmetic.cast(build, build.value(call.x), torch.bool), x, build.value(y, beside=x))


@rule("ops.Cast", "ops.SaturateCast")
def cast(build: Builder, call: Call) -> Value:
    dtype = torch_dtype(str(call.dtype))
    narrow = type(call.operation).__name__ == "SaturateCast" and not dtype.is_floating_point
    if narrow and dtype is not torch.bool:
        limits = torch.iinfo(dtype)
        return arithmetic.cast(build, build.call(aten.clamp.default, call.x, limits.min, limits.max), dtype)
    return arithmetic.cast(build, build.value(call.x), dtype)


@rule("ops.ConvertToTensor")
def convert_to_tensor(build: Builder, call: Call) -> Value:
    x = build.value(call.x)
    return x if call.dtype is None else arithmetic.cast(build, x, torch_dtype(str(call.dtype)))


@rule("ops.Copy", "ops.StopGradient")
def same(build: Builder, call: Call) -> Value:
    return call.x


@rule("ops.OnesLike")
def ones_like(build: Builder, call: Call) -> Value:
    return _full(call, 1)


@rule("ops.ZerosLike")
def zeros_like(build: Builder, call: Call) -> Value:
    return _full(call, 0)


@rule("ops.FullLike")
def full_like(build: Builder, call: Call) -> Value:
    return _full(call, build.value(call.argument(1, "fill_value")))


def _full(call: Call, number: Any) -> Value:
    dtype = dtype_of(call.x) if call.dtype is None else torch_dtype(str(call.dtype))
    if isinstance(number, Node):
        raise call.refuse("a value to fill with that is only known when the model runs")
    return torch.full(shape_of(call.x), float(number) if dtype.is_floating_point else int(number), dtype=dtype)
