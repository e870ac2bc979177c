"""Parts of a forward under `torch.no_grad()` or `torch.autocast`, which export keeps as modules of their own."""

import operator
from typing import Any

import torch
from torch.fx import GraphModule, Node

from prunus.errors import ImportModelError

_MODES = {
    torch.ops.higher_order.wrap_with_set_grad_enabled: 1,
    torch.ops.higher_order.wrap_with_autocast: 4,
}
"""Operators that run a module in a mode; the place of the module among the arguments, its own come after it."""


def casts(module: GraphModule) -> bool:
    """Tell whether a part runs under an autocast that is switched on: its dtypes are not those that it states.

    One for a GPU does nothing here.
    """
    wraps = [node for node in module.graph.nodes if node.target is torch.ops.higher_order.wrap_with_autocast]
    parts = [_part(module, node) for node in module.graph.nodes]
    switched_on = any(device == "cpu" and on for device, _, on, *_ in (node.args for node in wraps))
    return switched_on or any(part is not None and casts(part) for part in parts)


def written_out(module: GraphModule) -> torch.fx.Graph:
    """Return a copy of the graph with such parts in place; the modes are forgotten, for they change no number.

    before:  y = wrap_with_set_grad_enabled(False, part, x)    part(a) = (mul(a, 2),)
    after:   y = mul(x, 2)

    Raises:
        ImportModelError: other operators that run parts, as numbers decide: `torch.cond` for instance.
    """
    graph = torch.fx.Graph()
    graph.output(_write(module, graph, {}))
    return graph


def _write(module: GraphModule, graph: torch.fx.Graph, known: dict[Node, Any]) -> Any:
    """Append what a module computes, and return its results; `known` holds those of its inputs that have a node."""
    for node in module.graph.nodes:
        if node in known or _part(module, node) is not None:
            continue
        if node.op == "output":
            return torch.fx.map_arg(node.args[0], lambda read: known[read])
        if node.target in _MODES:
            place = _MODES[node.target]
            part = _part(module, node.args[place])
            assert part is not None
            inputs = part.graph.find_nodes(op="placeholder")
            given = torch.fx.map_arg(node.args[place + 1 :], lambda read: known[read])
            known[node] = _write(part, graph, dict(zip(inputs, given, strict=True)))
        elif node.target is operator.getitem and isinstance(known[node.args[0]], tuple | list):
            known[node] = known[node.args[0]][node.args[1]]
        elif isinstance(node.target, torch._ops.HigherOrderOperator):
            raise ImportModelError(
                f"node {node.name!r} calls torch.ops.higher_order.{node.target}, which runs parts its own way",
                expected="the same operators for all inputs",
                do="compute both sides and choose with torch.where, write loops out, or compile the parts one by one",
            )
        else:
            known[node] = graph.node_copy(node, lambda read: known[read])
    raise AssertionError("a graph without an output")


def _part(module: GraphModule, node: Node) -> GraphModule | None:
    """Return the module that a `get_attr` node reads, None for any other node."""
    read = getattr(module, str(node.target), None) if node.op == "get_attr" else None
    return read if isinstance(read, GraphModule) else None
