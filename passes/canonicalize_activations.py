"""Recognise activations that an exporter wrote out as formulas."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.fx import Node

from prunus.passes.arguments import arguments
from prunus.passes.emit import Emitter, replace
from prunus.passes.graph import Graph, aten, calls, is_op, shape, tidy, value
from prunus.passes.match import (
    Inverse,
    Match,
    Pattern,
    Variable,
    call,
    match,
    number_of,
    product,
    reads_of_inner,
    total,
)
from prunus.passes.reasons import no

Write = Callable[[Emitter, Match], Node]


@dataclass(frozen=True)
class Formula:
    """One spelling of an activation and how to write it."""

    name: str
    pattern: Pattern
    write: Write


def canonicalize_activations(graph: Graph) -> Graph:
    """Write each formula that is an activation as that activation, limits as one clamp.

    before:  x * (clamp(x + 3, 0, 6) / 6)            maximum(minimum(x, 6), 0)
    after:   hardswish(x)                            clamp(x, 0, 6)

    The formulas are those of the papers and of PyTorch's and ONNX's exporters: sigmoid, hard sigmoid, hard swish, SiLU,
    GELU (exact and tanh), softplus, Mish. A formula whose intermediate value is read elsewhere too stays.
    """
    for node in calls(graph):
        _merge_limits(graph, node)
    graph.graph.eliminate_dead_code()
    for node in calls(graph):
        for formula in FORMULAS:
            if _rewrite(graph, node, formula):
                break
    return tidy(graph)


def _rewrite(graph: Graph, node: Node, formula: Formula) -> bool:
    found = match(graph, formula.pattern, node)
    if found is None:
        return False
    others = reads_of_inner(found, node)
    if others:
        return no(f"it is {formula.name}, but {others[0].name!r} reads a value on its way", node)
    x = found.bindings["x"]
    if is_op(node, aten.maximum.default) and not 0 <= found.bindings["slope"] <= 1:
        return False
    if (shape(x), value(x).dtype) != (shape(node), value(node).dtype):
        return False
    replace(node, formula.write(Emitter(graph, node), found))
    return True


def _merge_limits(graph: Graph, node: Node) -> None:
    """maximum(minimum(x, 6), 0) --> clamp(x, 0, 6): limits by numbers are clamps, and clamps of clamps one clamp."""
    limits = _limits(graph, node)
    if limits is None:
        return
    x, low, high = limits
    inner = _limits(graph, x) if len(x.users) == 1 else None
    if inner is not None and _may_merge(inner, (x, low, high)):
        x, low, high = inner[0], _pick(max, inner[1], low), _pick(min, inner[2], high)
    emit = Emitter(graph, node)
    if (shape(x), value(x).dtype) != (shape(node), value(node).dtype):
        return
    if low == 0 and high is None:
        if not is_op(node, aten.relu.default) or node.args != (x,):
            replace(node, emit(aten.relu.default, x))
    elif node.args != (x, low, high):
        replace(node, emit(aten.clamp.default, x, low, high))


Limits = tuple[Node, float | None, float | None]


def _limits(graph: Graph, node: Node) -> Limits | None:
    """Return what a node limits and to what, None where it is no limit by numbers."""
    if is_op(node, aten.relu.default):
        return node.all_input_nodes[0], 0.0, None
    if is_op(node, aten.clamp.default):
        found = arguments(node)
        return found.self, found.min, found.max
    if is_op(node, aten.maximum.default, aten.minimum.default):
        for x, limit in (node.args, node.args[::-1]):
            number = number_of(graph, limit)
            if number is not None and isinstance(x, Node):
                return (x, number, None) if is_op(node, aten.maximum.default) else (x, None, number)
    return None


def _may_merge(inner: Limits, outer: Limits) -> bool:
    """Limits that overlap can be applied at once; others have an order."""
    lows = [low for low in (inner[1], outer[1]) if low is not None]
    highs = [high for high in (inner[2], outer[2]) if high is not None]
    return max(lows, default=-math.inf) <= min(highs, default=math.inf)


def _pick(choose: Callable[[float, float], float], first: float | None, second: float | None) -> float | None:
    if first is None or second is None:
        return second if first is None else first
    return choose(first, second)


def _unary(target: torch._ops.OpOverload, **options: str) -> Write:
    return lambda emit, found: emit(target, found.bindings["x"], **options)


def _leaky_relu(emit: Emitter, found: Match) -> Node:
    return emit(aten.leaky_relu.default, found.bindings["x"], found.bindings["slope"])


x = Variable("x")
exp = call(aten.exp.default, x)
exp_minus = call(aten.exp.default, product(-1, x))
relu6_of_x_plus_3 = call(aten.clamp.default, total(3, x), numbers=(0, 6))
gate = total(1, call(aten.erf.default, product(math.sqrt(0.5), x)))
cubic = product(math.sqrt(2 / math.pi), total(0, x, product(0.044715, x, x, x)))
cubic_factored = product(math.sqrt(2 / math.pi), x, total(1, product(0.044715, x, x)))
scaled = product("slope", x)

FORMULAS = (
    Formula("sigmoid", product(1, Inverse(total(1, exp_minus))), _unary(aten.sigmoid.default)),
    Formula("hard sigmoid", product(1 / 6, relu6_of_x_plus_3), _unary(aten.hardsigmoid.default)),
    Formula(
        "hard sigmoid",
        call(aten.clamp.default, total(0.5, product(1 / 6, x)), numbers=(0, 1)),
        _unary(aten.hardsigmoid.default),
    ),
    Formula("hard swish", product(1, x, call(aten.hardsigmoid.default, x)), _unary(aten.hardswish.default)),
    Formula("hard swish", product(1 / 6, x, relu6_of_x_plus_3), _unary(aten.hardswish.default)),
    Formula("SiLU", product(1, x, call(aten.sigmoid.default, x)), _unary(aten.silu.default)),
    Formula("SiLU", product(1, x, Inverse(total(1, exp_minus))), _unary(aten.silu.default)),
    Formula("softplus", call(aten.log.default, total(1, exp)), _unary(aten.softplus.default)),
    Formula("softplus", call(aten.log1p.default, exp), _unary(aten.softplus.default)),
    Formula(
        "Mish",
        product(1, x, call(aten.tanh.default, call(aten.softplus.default, x, numbers=(1, 20)))),
        _unary(aten.mish.default),
    ),
    Formula("GELU", product(0.5, x, gate), _unary(aten.gelu.default)),
    Formula(
        "GELU (tanh)",
        product(0.5, x, total(1, call(aten.tanh.default, cubic))),
        _unary(aten.gelu.default, approximate="tanh"),
    ),
    Formula(
        "GELU (tanh)",
        product(0.5, x, total(1, call(aten.tanh.default, cubic_factored))),
        _unary(aten.gelu.default, approximate="tanh"),
    ),
    Formula("leaky ReLU", call(aten.maximum.default, x, scaled), _leaky_relu),
    Formula("leaky ReLU", call(aten.maximum.default, scaled, x), _leaky_relu),
    Formula(
        "leaky ReLU",
        call(aten.where.self, call(aten.gt.Scalar, x, numbers=(0,)), x, scaled),
        _leaky_relu,
    ),
)
