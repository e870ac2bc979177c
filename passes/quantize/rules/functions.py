"""Functions of one variable, however many operators they are written with."""

import torch
from torch import Tensor
from torch.fx import Node

from prunus.passes.arguments import arguments
from prunus.passes.emit import Emitter
from prunus.passes.graph import Graph, aten, get_constant, is_op, only_user, value
from prunus.passes.operators.quantized import INT8_HIGH, INT8_LOW
from prunus.passes.quantize.kinds import LIMITS, is_pointwise
from prunus.passes.quantize.qdq import (
    QUANTIZE,
    Result,
    Source,
    become,
    bounds,
    lead,
    qdq_rule,
    quantized,
    result_of,
    source_of,
)
from prunus.passes.quantize.tables import tabulate

BOUNDED = (quantized.qconv.default, quantized.qlinear.default, quantized.qadd.default, quantized.qmul.default)


@qdq_rule(QUANTIZE)
def function(graph: Graph, node: Node) -> bool:
    """dequantize(x) -> f -> g -> quantize --> qlookup(x, table); ReLU on the same grid is a clamp of integers.

    Everything between may read `x` several times (`x * sigmoid(x)`), but nothing else may read what is between.
    """
    end = node.args[0]
    assert isinstance(end, Node)
    result = result_of(end, limited=False)
    found = _cone(graph, end)
    if result is None or found is None:
        return False
    x, between = found
    if is_op(end, *LIMITS) and between == [end] and x.grid == result.grid:
        low, high = bounds(end)
        _limit(graph, end, x, result, x.grid.step(low, INT8_LOW), x.grid.step(high, INT8_HIGH))
        return True
    table = tabulate(lambda real: _compute(graph, between, x, real), x.grid, result.grid)
    constant = Emitter(graph, end).constant(table, like=f"{end.name}_table")
    become(graph, end, result, quantized.qlookup.default, x.node, constant)
    return True


def _limit(graph: Graph, end: Node, x: Source, result: Result, low: int, high: int) -> None:
    """Bound `x`: its operator does, where nothing else reads it and it has bounds (they are its last two arguments)."""
    real = only_user(x.node)
    if is_op(x.node, *BOUNDED) and real is not None and only_user(real) is end:
        call = arguments(x.node)
        within = (max(call.low, min(call.high, low)), min(call.high, max(call.low, high)))
        x.node.args = (*x.node.args[:-2], *within)
        lead(graph, result, x.node)
    else:
        become(graph, end, result, aten.clamp.default, x.node, low, high)


def _cone(graph: Graph, end: Node) -> tuple[Source, list[Node]] | None:
    """Return the one int8 value that `end` is a function of, and the nodes between, in order."""
    between: set[Node] = set()
    leaves: set[Node] = set()
    pending = [end]
    while pending:
        node = pending.pop()
        if node in between or node in leaves:
            continue
        if source_of(node) is not None:
            leaves.add(node)
            continue
        constant = get_constant(graph, node)
        if constant is not None and constant.numel() == 1:
            continue
        if not is_pointwise(node) or value(node).shape != value(end).shape:
            return None
        between.add(node)
        pending += node.all_input_nodes
    inside = all(user in between for node in between if node is not end for user in node.users)
    origins = {source_of(leaf) for leaf in leaves}
    if not between or len(origins) != 1 or not inside:
        return None
    (origin,) = origins
    assert origin is not None
    return (origin, [node for node in graph.graph.nodes if node in between]) if _same_shape(origin, end) else None


def _same_shape(origin: Source, end: Node) -> bool:
    return value(origin.node).shape == value(end).shape


def _compute(graph: Graph, between: list[Node], x: Source, real: Tensor) -> Tensor:
    """Apply the nodes to another tensor in the place of x."""
    values: dict[Node, Tensor] = {}

    def look_up(node: Node) -> Tensor:
        if node in values:
            return values[node]
        constant = get_constant(graph, node)
        return real if constant is None else constant.detach().reshape(())

    for node in between:
        args, kwargs = torch.fx.map_arg((node.args, node.kwargs), look_up)
        values[node] = node.target(*args, **kwargs)  # type: ignore[operator]
    return values[between[-1]]
