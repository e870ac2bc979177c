"""Element-wise operators: one overload each, operands of one dtype, activations that are a formula of others."""

import math
from types import SimpleNamespace
from typing import Any

import torch
from torch.fx import Node

from prunus.passes.decompositions.registry import rule
from prunus.passes.emit import Emitter
from prunus.passes.graph import aten, get_constant, shape, value

ARITHMETIC = (aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor)
COMPARISONS = (
    aten.eq.Tensor, aten.ne.Tensor, aten.lt.Tensor, aten.le.Tensor, aten.gt.Tensor, aten.ge.Tensor,
)  # fmt: skip
PAIRS = (
    aten.maximum.default, aten.minimum.default, aten.pow.Tensor_Tensor, aten.remainder.Tensor, aten.fmod.Tensor,
    aten.atan2.default, aten.bitwise_and.Tensor, aten.bitwise_or.Tensor, aten.bitwise_xor.Tensor,
)  # fmt: skip
OPERATORS = {  # other names of pairs
    aten.max.other: aten.maximum.default,
    aten.min.other: aten.minimum.default,
    aten.__and__.Tensor: aten.bitwise_and.Tensor,
    aten.__or__.Tensor: aten.bitwise_or.Tensor,
    aten.__xor__.Tensor: aten.bitwise_xor.Tensor,
}
FLOAT_FUNCTIONS = (
    aten.exp.default, aten.log.default, aten.sqrt.default, aten.rsqrt.default, aten.sin.default, aten.cos.default,
    aten.tan.default, aten.tanh.default, aten.sigmoid.default, aten.erf.default, aten.reciprocal.default,
    aten.log1p.default, aten.expm1.default, aten.asin.default, aten.acos.default, aten.atan.default,
    aten.sinh.default, aten.cosh.default,
)  # fmt: skip


@rule(
    *ARITHMETIC, aten.add.Scalar, aten.sub.Scalar, aten.mul.Scalar, aten.div.Scalar, aten.true_divide.Tensor,
    aten.true_divide.Scalar, aten.multiply.Tensor, aten.multiply.Scalar, aten.divide.Tensor, aten.divide.Scalar,
    aten.subtract.Tensor, aten.subtract.Scalar,
)  # fmt: skip
def arithmetic(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """add(x, y, alpha=2) --> add(x, mul(y, 2)), both of the dtype of the result; numbers stay numbers"""
    name = str(node.target).split(".")[1]
    short = {"true_divide": "div", "divide": "div", "multiply": "mul", "subtract": "sub"}.get(name, name)
    target = getattr(aten, short).Tensor
    dtype = value(node).dtype
    other = call.other
    if getattr(call, "alpha", 1) != 1:
        other = emit(aten.mul.Tensor, other, call.alpha) if isinstance(other, Node) else other * call.alpha
    wanted = (_cast(emit, call.self, dtype), _cast(emit, other, dtype))
    return None if node.target is target and node.args == wanted and not node.kwargs else emit(target, *wanted)


@rule(aten.rsub.Scalar, aten.rsub.Tensor)
def reversed_subtraction(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """rsub(x, 1) --> sub(1, x)"""
    x = call.self if call.alpha == 1 else emit(aten.mul.Tensor, call.self, call.alpha)
    return emit(aten.sub.Tensor, call.other, x)


@rule(*COMPARISONS, *PAIRS, *OPERATORS)
def pair(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """maximum(x, integers) --> maximum(x, _to_copy(integers, dtype=float32))"""
    assert isinstance(node.target, torch._ops.OpOverload)
    target = OPERATORS.get(node.target, node.target)
    left, right = node.args
    assert isinstance(left, Node)
    assert isinstance(right, Node)
    dtype = torch.result_type(emit.describe(left), emit.describe(right))
    wanted = (emit.cast(left, dtype), emit.cast(right, dtype))
    return None if node.target is target and node.args == wanted else emit(target, *wanted)


@rule(*FLOAT_FUNCTIONS)
def float_function(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """sqrt(integers) --> sqrt(_to_copy(integers, dtype=float32))"""
    if value(call.self).dtype == value(node).dtype:
        return None
    return emit(node.target, emit.cast(call.self, value(node).dtype))  # type: ignore[arg-type]


@rule(aten.floor_divide.default, aten.floor_divide.Scalar, aten.div.Scalar_mode, aten.div.Tensor_mode)
def rounded_division(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """div(x, y, rounding_mode="trunc") --> trunc(div(x, y)); integers stay div.Tensor_mode"""
    mode = getattr(call, "rounding_mode", "floor")
    dtype = value(node).dtype
    if mode is None:
        return emit(aten.div.Tensor, call.self, call.other)
    if dtype.is_floating_point:
        quotient = emit(aten.div.Tensor, _cast(emit, call.self, dtype), _cast(emit, call.other, dtype))
        return emit(aten.floor.default if mode == "floor" else aten.trunc.default, quotient)
    other = call.other if isinstance(call.other, Node) else emit.scalar(call.other, dtype)
    wanted = (emit.cast(call.self, dtype), emit.cast(other, dtype))
    if node.target is aten.div.Tensor_mode and node.args == wanted:
        return None
    return emit(aten.div.Tensor_mode, *wanted, rounding_mode=mode)


@rule(aten.remainder.Scalar, aten.fmod.Scalar, aten.bitwise_and.Scalar, aten.bitwise_or.Scalar, aten.bitwise_xor.Scalar)
def pair_with_number(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """remainder(x, 2) --> remainder(x, the constant 2)"""
    target = getattr(aten, str(node.target).split(".")[1]).Tensor
    return emit(target, call.self, emit.scalar(call.other, value(node).dtype))


@rule(aten.pow.Tensor_Scalar, aten.square.default)
def power(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """pow(x, 2) --> mul(x, x), pow(x, 0.5) --> sqrt(x), pow(x, -1) --> reciprocal(x)"""
    x = emit.cast(call.self, value(node).dtype)
    exponent = getattr(call, "exponent", 2)
    if exponent == 1:
        return x
    if exponent == 2:
        return emit(aten.mul.Tensor, x, x)
    if exponent == 3:
        return emit(aten.mul.Tensor, emit(aten.mul.Tensor, x, x), x)
    roots = {0.5: aten.sqrt.default, -0.5: aten.rsqrt.default, -1: aten.reciprocal.default}
    if exponent in roots:
        return emit(roots[exponent], x)
    return None if x is call.self else emit(aten.pow.Tensor_Scalar, x, exponent)


@rule(aten.pow.Scalar)
def power_of_number(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """pow(2, x) --> exp(x * log(2)) for a positive number, else of a constant"""
    if call.self > 0:
        exponent = emit.cast(call.exponent, value(node).dtype)
        return emit(aten.exp.default, emit(aten.mul.Tensor, exponent, math.log(call.self)))
    return emit(aten.pow.Tensor_Tensor, emit.scalar(call.self, value(node).dtype), call.exponent)


@rule(aten.exp2.default)
def exp2(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """exp2(x) --> exp(x * log(2))"""
    return emit(aten.exp.default, emit(aten.mul.Tensor, emit.cast(call.self, value(node).dtype), math.log(2)))


@rule(aten.log2.default, aten.log10.default)
def other_logarithm(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """log2(x) --> log(x) / log(2)"""
    base = 2 if node.target is aten.log2.default else 10
    return emit(aten.mul.Tensor, emit(aten.log.default, emit.cast(call.self, value(node).dtype)), 1 / math.log(base))


@rule(aten.asinh.default)
def inverse_sinh(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """asinh(x) --> sign(x) * log1p(a + a^2 / (1 + sqrt(1 + a^2))), a = abs(x): exact near 0, where log(1 + ...) is not

    The quotient is a / (1 / a + sqrt(1 + 1 / a^2)), so that no square overflows.
    """
    x = emit.cast(call.self, value(node).dtype)
    size = emit(aten.abs.default, x)
    inverse = emit(aten.reciprocal.default, size)
    root = emit(aten.sqrt.default, emit(aten.add.Tensor, emit(aten.mul.Tensor, inverse, inverse), 1.0))
    quotient = emit(aten.div.Tensor, size, emit(aten.add.Tensor, inverse, root))
    return emit(
        aten.mul.Tensor, emit(aten.sign.default, x), emit(aten.log1p.default, emit(aten.add.Tensor, size, quotient))
    )


@rule(aten.acosh.default)
def inverse_cosh(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """acosh(x) --> log1p(d + sqrt(d) * sqrt(d + 2)), d = x - 1: exact near 1, and no square overflows"""
    past = emit(aten.sub.Tensor, emit.cast(call.self, value(node).dtype), 1.0)
    roots = (emit(aten.sqrt.default, factor) for factor in (past, emit(aten.add.Tensor, past, 2.0)))
    return emit(aten.log1p.default, emit(aten.add.Tensor, past, emit(aten.mul.Tensor, *roots)))


@rule(aten.atanh.default)
def inverse_tanh(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """atanh(x) --> (log1p(x) - log1p(-x)) / 2"""
    x = emit.cast(call.self, value(node).dtype)
    parts = (emit(aten.log1p.default, side) for side in (x, emit(aten.neg.default, x)))
    return emit(aten.mul.Tensor, emit(aten.sub.Tensor, *parts), 0.5)


@rule(aten.erfc.default, aten.special_erfc.default)
def erfc(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """erfc(x) --> 1 - erf(x), whose tail is as small as float32 is exact near 1"""
    return emit(aten.sub.Tensor, 1.0, emit(aten.erf.default, emit.cast(call.self, value(node).dtype)))


@rule(aten.clamp.default, aten.clamp_min.default, aten.clamp_max.default, aten.clip.default, aten.hardtanh.default,
      aten.relu6.default)  # fmt: skip
def clamp(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """relu6(x) --> clamp(x, 0, 6); clamp_min(x, 0) --> relu(x)"""
    low, high = (getattr(call, name, None) for name in ("min", "max"))
    if node.target is aten.hardtanh.default:
        low, high = call.min_val, call.max_val
    elif node.target is aten.relu6.default:
        low, high = 0.0, 6.0
    x = emit.cast(call.self, value(node).dtype)
    if low == 0 and high is None:
        return emit(aten.relu.default, x)
    if node.target is aten.clamp.default and node.args == (x, low, high):
        return None
    return emit(aten.clamp.default, x, low, high)


@rule(aten.clamp.Tensor, aten.clamp_min.Tensor, aten.clamp_max.Tensor, aten.clip.Tensor)
def clamp_between_tensors(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """clamp(x, low, high) --> minimum(maximum(x, low), high)"""
    x = call.self
    if getattr(call, "min", None) is not None:
        x = emit(aten.maximum.default, x, call.min)
    if getattr(call, "max", None) is not None:
        x = emit(aten.minimum.default, x, call.max)
    return x


@rule(aten.where.self, aten.where.ScalarOther, aten.where.ScalarSelf, aten.where.Scalar)
def where(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """where(c, x, 0) --> where(c, x, the constant 0), both of the dtype of the result"""
    dtype = value(node).dtype
    wanted = (emit.cast(call.condition, torch.bool), *(_tensor(emit, side, dtype) for side in (call.self, call.other)))
    return None if node.args == wanted else emit(aten.where.self, *wanted)


@rule(aten.masked_fill.Scalar, aten.masked_fill.Tensor)
def masked_fill(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """masked_fill(x, mask, 0) --> where(mask, 0, x)"""
    return emit(aten.where.self, call.mask, _tensor(emit, call.value, value(node).dtype), call.self)


@rule(aten.prelu.default, aten._prelu_kernel.default)
def prelu(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """prelu(x, a) --> where(x > 0, x, x * a); one constant slope: leaky_relu(x, a)"""
    slope = get_constant(emit.graph, call.weight)
    if slope is not None and slope.numel() == 1:
        return emit(aten.leaky_relu.default, call.self, slope.item())
    weight = call.weight
    if node.target is aten.prelu.default and len(shape(node)) > 2:
        weight = emit.reshape(weight, [shape(weight)[0], *[1] * (len(shape(node)) - 2)])
    positive = emit(aten.gt.Scalar, call.self, 0)
    return emit(aten.where.self, positive, call.self, emit(aten.mul.Tensor, call.self, weight))


@rule(aten.selu.default, aten.celu.default)
def scaled_elu(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """selu(x) --> elu(x, alpha, scale), celu(x, a) --> elu(x, a, 1, 1 / a)"""
    if node.target is aten.celu.default:
        return emit(aten.elu.default, call.self, call.alpha, 1.0, 1.0 / call.alpha)
    return emit(aten.elu.default, call.self, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946)


@rule(aten.log_sigmoid.default)
def log_sigmoid(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """log_sigmoid(x) --> -softplus(-x)"""
    return emit(aten.neg.default, emit(aten.softplus.default, emit(aten.neg.default, call.self)))


@rule(aten.rrelu.default)
def rrelu(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """rrelu(x, low, high) --> leaky_relu(x, (low + high) / 2), in evaluation mode"""
    return None if call.training else emit(aten.leaky_relu.default, call.self, (call.lower + call.upper) / 2)


@rule(aten.lerp.Scalar)
def lerp(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """lerp(x, end, w) --> x + (end - x) * w"""
    way = emit(aten.mul.Tensor, emit(aten.sub.Tensor, call.end, call.self), call.weight)
    return emit(aten.add.Tensor, call.self, way)


@rule(aten.isnan.default)
def isnan(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """isnan(x) --> x != x"""
    return emit(aten.ne.Tensor, call.self, call.self)


@rule(aten.isinf.default)
def isinf(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """isinf(x) --> abs(x) == infinity"""
    return emit(aten.eq.Scalar, emit(aten.abs.default, call.self), math.inf)


@rule(aten.logical_and.default, aten.logical_or.default, aten.logical_xor.default)
def logical(emit: Emitter, node: Node, call: SimpleNamespace) -> Node:
    """logical_and(x, y) --> bitwise_and(x as bool, y as bool)"""
    target = getattr(aten, str(node.target).split(".")[1].replace("logical", "bitwise")).Tensor
    return emit(target, *(emit.cast(side, torch.bool) for side in (call.self, call.other)))


@rule(aten.bitwise_not.default)
def bitwise_not(emit: Emitter, node: Node, call: SimpleNamespace) -> Node | None:
    """bitwise_not(booleans) --> logical_not(booleans)"""
    return emit(aten.logical_not.default, call.self) if value(node).dtype == torch.bool else None


def _cast(emit: Emitter, operand: Any, dtype: torch.dtype) -> Any:
    return emit.cast(operand, dtype) if isinstance(operand, Node) else operand


def _tensor(emit: Emitter, operand: Any, dtype: torch.dtype) -> Node:
    return emit.cast(operand, dtype) if isinstance(operand, Node) else emit.scalar(operand, dtype)
