"""What each element-wise ATen operator computes at one element: the only such table, for epilogues and kernels alike.

A rule takes the node and the expressions of its tensor arguments, and returns an expression of the operations in
`vector_math.OPERATIONS`. Adding an operator is adding one rule and its row in
`tests/backends/kernels/test_scalar_rules.py`.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.fx import Node

from prunus.backends.kernels.expression import Apply, Expression, Number
from prunus.passes.graph import aten, value

Rule = Callable[..., Expression]
RULES: dict[object, Rule] = {}


def rule(*targets: object) -> Callable[[Rule], Rule]:
    """Register the rule of operators: overload packets or single overloads."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(targets, function))
        return function

    return register


def find_rule(target: object) -> Rule | None:
    """Return the rule of an operator, None where it is not element-wise."""
    return RULES.get(target) or RULES.get(getattr(target, "overloadpacket", None))


def dtype_of(node: Node) -> str:
    """Return numpy's name of the dtype of the node's value."""
    return dtype_name(value(node).dtype)


def dtype_name(dtype: torch.dtype) -> str:
    """Return numpy's name of a torch dtype."""
    return str(dtype).removeprefix("torch.")


def apply_rule(node: Node, arguments: dict[Node, Expression]) -> Expression:
    """Return the expression of `node`, given those of the tensors that it reads, converted to the result's dtype."""
    found = find_rule(node.target)
    assert found is not None, f"{node.target} is not element-wise"

    def resolve(argument: object) -> object:
        return arguments[argument] if isinstance(argument, Node) else argument

    expression = found(
        node, *[resolve(argument) for argument in node.args], **{k: resolve(v) for k, v in node.kwargs.items()}
    )
    return cast(expression, dtype_of(node))


def cast(expression: Expression, dtype: str) -> Expression:
    """Convert an expression to `dtype`, constants at once."""
    if expression.dtype == dtype:
        return expression
    if isinstance(expression, Number):
        return number(expression.value, dtype)
    return Apply("cast", (expression,), dtype)


def number(constant: float | int | bool, dtype: str) -> Number:
    """Return a constant of `dtype`."""
    if dtype == "bool":
        return Number(bool(constant), dtype)
    if dtype.startswith("float"):
        return Number(float(constant), dtype)
    # -1 in uint8 is 255.
    return Number(int(constant) & 0xFF if dtype == "uint8" else int(constant), dtype)


def _lift(argument: object, dtype: str) -> Expression:
    return number(argument, dtype) if isinstance(argument, int | float | bool) else cast(argument, dtype)  # type: ignore[arg-type]


def _common(node: Node, *arguments: object) -> str:
    """Return the dtype in which PyTorch computes: the promotion of everything that the node reads."""
    kinds: list[Any] = [value(a) if isinstance(a, Node) else a for a in node.args[: len(arguments)]]
    return dtype_name(torch.result_type(*kinds))


def _binary(op: str, dtype: str | None = None) -> Rule:
    def compute(node: Node, left: object, right: object, *, alpha: float = 1) -> Expression:
        common = _common(node, left, right)
        first, second = _lift(left, common), _lift(right, common)
        if alpha != 1:
            second = Apply("mul", (second, number(alpha, common)), common)
        return Apply(op, (first, second), dtype or common)

    return compute


def _unary(op: str) -> Rule:
    def compute(node: Node, x: Expression, *_: object, **__: object) -> Expression:
        dtype = dtype_of(node)
        return Apply(op, (cast(x, dtype),), dtype)

    return compute


_BINARY: dict[object, str] = {
    aten.add: "add", aten.sub: "sub", aten.mul: "mul", aten.maximum: "max", aten.minimum: "min",
    aten.bitwise_and: "and", aten.bitwise_or: "or", aten.bitwise_xor: "xor", aten.fmod: "fmod",
}  # fmt: skip
for _target, _op in _BINARY.items():
    RULES[_target] = _binary(_op)
_COMPARISONS: dict[object, str] = {
    aten.lt: "lt", aten.le: "le", aten.gt: "gt", aten.ge: "ge", aten.eq: "eq", aten.ne: "ne",
}  # fmt: skip
for _target, _op in _COMPARISONS.items():
    RULES[_target] = _binary(_op, "bool")
_UNARY: dict[object, str] = {
    aten.exp: "exp", aten.log: "log", aten.sqrt: "sqrt", aten.tanh: "tanh", aten.sigmoid: "sigmoid", aten.erf: "erf",
    aten.abs: "abs", aten.neg: "neg", aten.floor: "floor", aten.ceil: "ceil", aten.round.default: "round",
    aten.trunc: "trunc", aten.sin: "sin", aten.cos: "cos", aten.log1p: "log1p", aten.tan: "tan", aten.atan: "atan",
    aten.asin: "asin", aten.acos: "acos", aten.sinh: "sinh", aten.cosh: "cosh", aten.expm1: "expm1",
}  # fmt: skip
for _target, _op in _UNARY.items():
    RULES[_target] = _unary(_op)


def _call(op: str, *arguments: Expression) -> Apply:
    return Apply(op, arguments, arguments[-1].dtype)


def _test(op: str, *arguments: Expression) -> Apply:
    return Apply(op, arguments, "bool")


def _select(condition: Expression, yes: Expression, no: Expression) -> Apply:
    return Apply("select", (condition, yes, no), no.dtype)


def _clamp(x: Expression, low: float, high: float) -> Expression:
    return _call("min", _call("max", x, number(low, x.dtype)), number(high, x.dtype))


@rule(aten.div.Tensor)
def _div(node: Node, left: object, right: object) -> Expression:
    dtype = dtype_of(node)
    if isinstance(right, int | float):
        return _call("mul", _lift(left, dtype), number(1.0 / right, dtype)) if _exact(right) else _call(
            "div", _lift(left, dtype), number(right, dtype)
        )  # fmt: skip
    return _call("div", _lift(left, dtype), _lift(right, dtype))


def _exact(divisor: float) -> bool:
    """Tell whether multiplying by the reciprocal rounds like dividing: powers of two."""
    return divisor != 0 and math.frexp(abs(divisor))[0] == 0.5


@rule(aten.div.Tensor_mode)
def _div_mode(node: Node, left: object, right: object, *, rounding_mode: str | None = None) -> Expression:
    dtype = dtype_of(node)
    first, second = _lift(left, dtype), _lift(right, dtype)
    if not dtype.startswith("float"):
        return _call({"floor": "floordiv", "trunc": "truncdiv"}[str(rounding_mode)], first, second)
    if rounding_mode == "floor":
        # Where the division would round up to a whole number, floor(a / b) is one too much: 1 // 0.1 is 9.
        whole = _call("round", _call("div", _call("sub", first, _float_remainder(first, second)), second))
        return _select(_test("eq", second, number(0, dtype)), _call("div", first, second), whole)
    quotient = _call("div", first, second)
    return _call("trunc", quotient) if rounding_mode == "trunc" else quotient


@rule(aten.remainder)
def _remainder(node: Node, left: object, right: object) -> Expression:
    dtype = dtype_of(node)
    first, second = _lift(left, dtype), _lift(right, dtype)
    return _float_remainder(first, second) if dtype.startswith("float") else _call("floormod", first, second)


def _float_remainder(first: Expression, second: Expression) -> Expression:
    """fmod with the sign of the divisor."""
    zero, rest = number(0, first.dtype), _call("fmod", first, second)
    signs_differ = _test("lt", _call("mul", rest, second), zero)
    return _select(signs_differ, _call("add", rest, second), rest)


@rule(aten.atan2)
def _atan2(node: Node, left: object, right: object) -> Expression:
    return _call("atan2", _lift(left, dtype_of(node)), _lift(right, dtype_of(node)))


@rule(aten.pow.Tensor_Scalar)
def _pow_scalar(node: Node, x: Expression, exponent: float) -> Expression:
    base = cast(x, dtype_of(node))
    if float(exponent).is_integer() and abs(exponent) <= _LARGEST_PRODUCT:
        product = _product(base, abs(int(exponent)))
        return product if exponent >= 0 else _call("div", number(1, base.dtype), product)
    if exponent == 0.5:
        return _call("sqrt", base)
    if exponent == -0.5:
        return _call("div", number(1, base.dtype), _call("sqrt", base))
    return _power(base, number(exponent, base.dtype))


# Powers up to this one are products.
_LARGEST_PRODUCT = 64


def _product(base: Expression, exponent: int) -> Expression:
    """base ** exponent by squares."""
    if exponent == 0:
        return number(1, base.dtype)
    if exponent == 1:
        return base
    half = _product(base, exponent // 2)
    square = _call("mul", half, half)
    return _call("mul", square, base) if exponent % 2 else square


@rule(aten.pow.Tensor_Tensor)
def _pow(node: Node, base: object, exponent: object) -> Expression:
    return _power(_lift(base, dtype_of(node)), _lift(exponent, dtype_of(node)))


def _power(base: Expression, exponent: Expression) -> Expression:
    """base ** exponent; integers in float64, which holds their powers up to 2**53."""
    if base.dtype.startswith("float"):
        return _call("pow", base, exponent)
    return cast(_call("pow", cast(base, "float64"), cast(exponent, "float64")), base.dtype)


@rule(aten.rsqrt)
def _rsqrt(node: Node, x: Expression) -> Expression:
    return _call("div", number(1, dtype_of(node)), _call("sqrt", cast(x, dtype_of(node))))


@rule(aten.reciprocal)
def _reciprocal(node: Node, x: Expression) -> Expression:
    return _call("div", number(1, dtype_of(node)), cast(x, dtype_of(node)))


@rule(aten.relu)
def _relu(node: Node, x: Expression) -> Expression:
    return _call("max", x, number(0, x.dtype))


@rule(aten.clamp)
def _clamp_rule(node: Node, x: Expression, min: object = None, max: object = None) -> Expression:
    dtype = dtype_of(node)
    result = cast(x, dtype)
    if min is not None:
        result = _call("max", result, _lift(min, dtype))
    if max is not None:
        result = _call("min", result, _lift(max, dtype))
    return result


@rule(aten.leaky_relu)
def _leaky_relu(node: Node, x: Expression, slope: float = 0.01) -> Expression:
    scaled = _call("mul", x, number(slope, x.dtype))
    if 0 <= slope <= 1:
        return _call("max", x, scaled)
    return _select(_test("gt", x, number(0, x.dtype)), x, scaled)


@rule(aten.elu)
def _elu(node: Node, x: Expression, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Expression:
    def constant(v: float) -> Number:
        return number(v, x.dtype)

    grown = _call("sub", _call("exp", _call("mul", _call("min", x, constant(0)), constant(input_scale))), constant(1))
    negative = _call("mul", grown, constant(alpha * scale))
    return _select(_test("gt", x, constant(0)), _call("mul", x, constant(scale)), negative)


@rule(aten.hardsigmoid)
def _hardsigmoid(node: Node, x: Expression) -> Expression:
    return _call("mul", _clamp(_call("add", x, number(3, x.dtype)), 0, 6), number(1 / 6, x.dtype))


@rule(aten.hardswish)
def _hardswish(node: Node, x: Expression) -> Expression:
    return _call("mul", _call("mul", x, number(1 / 6, x.dtype)), _clamp(_call("add", x, number(3, x.dtype)), 0, 6))


@rule(aten.silu)
def _silu(node: Node, x: Expression) -> Expression:
    return _call("mul", x, _call("sigmoid", x))


@rule(aten.gelu)
def _gelu(node: Node, x: Expression, approximate: str = "none") -> Expression:
    def constant(v: float) -> Number:
        return number(v, x.dtype)

    if approximate == "tanh":
        cubic = _call("mul", _call("mul", _call("mul", x, x), x), constant(0.044715))
        inner = _call("tanh", _call("mul", _call("add", x, cubic), constant(math.sqrt(2 / math.pi))))
    else:
        inner = _call("erf", _call("mul", x, constant(math.sqrt(0.5))))
    return _call("mul", _call("mul", x, constant(0.5)), _call("add", inner, constant(1)))


@rule(aten.softplus)
def _softplus(node: Node, x: Expression, beta: float = 1, threshold: float = 20) -> Expression:
    """log(1 + exp(beta x)) / beta as max(x, 0) + log(1 + exp(-|beta x|)) / beta, which does not overflow."""
    scaled = _call("mul", x, number(beta, x.dtype))
    tail = _call("log1p", _call("exp", _call("neg", _call("abs", scaled))))
    soft = _call("add", _call("max", x, number(0, x.dtype)), _call("mul", tail, number(1 / beta, x.dtype)))
    return _select(_test("gt", scaled, number(threshold, x.dtype)), x, soft)


@rule(aten.mish)
def _mish(node: Node, x: Expression) -> Expression:
    return _call("mul", x, _call("tanh", _softplus(node, x)))


@rule(aten.sign)
def _sign(node: Node, x: Expression) -> Expression:
    one, minus, zero = (number(v, x.dtype) for v in (1, -1, 0))
    if x.dtype in ("bool", "uint8"):
        return cast(cast(x, "bool"), x.dtype)
    return _select(_test("gt", x, zero), one, _select(_test("lt", x, zero), minus, zero))


@rule(aten.where.self)
def _where(node: Node, condition: Expression, yes: object, no: object) -> Expression:
    dtype = dtype_of(node)
    return _select(cast(condition, "bool"), _lift(yes, dtype), _lift(no, dtype))


@rule(aten.logical_not)
def _logical_not(node: Node, x: Expression) -> Expression:
    return _test("not", x)


@rule(aten.bitwise_not)
def _bitwise_not(node: Node, x: Expression) -> Expression:
    return _test("not", x) if x.dtype == "bool" else _call("sub", number(-1, x.dtype), x)


@rule(aten._to_copy)
def _copy(node: Node, x: Expression, *_: object, **__: object) -> Expression:
    return x
