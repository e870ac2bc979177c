"""Layers with weights, and matrix products."""

from types import SimpleNamespace

from prunus.passes.graph import aten, shape
from prunus.passes.layers import CONV, CONV_TRANSPOSE
from prunus.passes.prune.atoms import Dims
from prunus.passes.prune.rules.elementwise import broadcast
from prunus.passes.prune.rules.registry import Scope, rule

_WINDOW = "its window moves along this dimension"
_KERNEL = "it is a side of a kernel"


@rule(*CONV)
def convolution(scope: Scope, call: SimpleNamespace) -> Dims:
    """With weights (groups * outputs, inputs, ...): channels are (groups, inputs), results (groups, outputs)."""
    weight = scope.of(call.weight)
    spatial = len(weight) - 2
    *batch, channels = scope.of(call.input)[:-spatial]
    group, inputs = scope.split(channels, (call.groups, len(weight[1])))
    outputs = scope.merge((group, scope.fresh(len(weight[0]) // call.groups)))
    scope.unify(weight[0], outputs)
    scope.unify(weight[1], inputs)
    scope.role(call.weight, 0, "out")
    if len(weight[1]) > 1 or call.groups == 1:  # a depthwise convolution scales, others sum
        scope.role(call.weight, 1, "in", (call.input, -1 - spatial))
    return (*batch, *_with_bias(scope, call, outputs), *_window(scope, call))


@rule(*CONV_TRANSPOSE)
def transposed_convolution(scope: Scope, call: SimpleNamespace) -> Dims:
    """With weights (groups * inputs, outputs, ...)."""
    weight = scope.of(call.weight)
    spatial = len(weight) - 2
    *batch, channels = scope.of(call.input)[:-spatial]
    group, _ = scope.split(channels, (call.groups, len(channels) // call.groups))
    each = scope.fresh(len(weight[1]))
    outputs = scope.merge((group, each))
    scope.unify(weight[0], channels)
    scope.unify(weight[1], each)
    scope.role(call.weight, 0, "in", (call.input, -1 - spatial))
    scope.role(call.weight, 1, "out")
    return (*batch, *_with_bias(scope, call, outputs), *_window(scope, call))


def _with_bias(scope: Scope, call: SimpleNamespace, outputs: object) -> Dims:
    if call.bias is not None:
        scope.unify(scope.of(call.bias)[0], outputs)  # type: ignore[arg-type]
    return (outputs,)  # type: ignore[return-value]


def _window(scope: Scope, call: SimpleNamespace) -> Dims:
    """Freeze what windows move along, before and after, and the sides of the kernel."""
    weight = scope.of(call.weight)
    spatial = len(weight) - 2
    for side in weight[2:]:
        scope.freeze(side, _KERNEL)
    for labels in scope.of(call.input)[-spatial:]:
        scope.freeze(labels, _WINDOW)
    return tuple(scope.fixed(size, _WINDOW) for size in shape(scope.node)[-spatial:])


@rule(aten.linear.default)
def linear(scope: Scope, call: SimpleNamespace) -> Dims:
    *lead, inputs = scope.of(call.input)
    weight = scope.of(call.weight)
    scope.unify(weight[1], inputs)
    if call.bias is not None:
        scope.unify(scope.of(call.bias)[0], weight[0])
    scope.role(call.weight, 0, "out")
    scope.role(call.weight, 1, "in", (call.input, -1))
    return (*lead, weight[0])


@rule(aten.matmul.default)
def matmul(scope: Scope, call: SimpleNamespace) -> Dims:
    """The inner dimensions go together; the result has rows of the first and columns of the second."""
    first, second = scope.of(call.self), scope.of(call.other)
    scope.unify(first[-1], second[-2] if len(second) > 1 else second[-1])
    if call.self.op == "get_attr":
        scope.role(call.self, len(first) - 1, "in", (call.other, -2 if len(second) > 1 else -1))
    if call.other.op == "get_attr" and len(second) > 1:
        scope.role(call.other, len(second) - 2, "in", (call.self, -1))
        scope.role(call.other, len(second) - 1, "out")
    rows = first[-2:-1]
    columns = second[-1:] if len(second) > 1 else ()
    batch = shape(scope.node)[: len(shape(scope.node)) - len(rows) - len(columns)]
    return (*broadcast(scope, [first[:-2], second[:-2]], batch), *rows, *columns)


@rule(aten.embedding.default)
def embedding(scope: Scope, call: SimpleNamespace) -> Dims:
    words, features = scope.of(call.weight)
    scope.freeze(words, "inputs choose among its rows")
    scope.role(call.weight, 1, "out")
    return (*scope.of(call.indices), features)
