"""Element-wise operators of a fusion group as one expression."""

import operator
from collections.abc import Callable

import torch
from torch.fx import Node

from prunus.backends.kernels.expression import Accumulator, Expression, Operand
from prunus.backends.kernels.scalar_rules import apply_rule, dtype_name, dtype_of, number
from prunus.backends.plan.program import View
from prunus.backends.plan.views import broadcast
from prunus.passes.fuse import Group
from prunus.passes.graph import Graph, get_constant, shape


def describe_epilogue(
    group: Group, graph: Graph, view_of: Callable[[Node], View]
) -> tuple[Expression, tuple[View, ...]]:
    """Return what becomes of the anchor's result, and the views that it reads, broadcast to the group's result.

    In a group without an anchor it is all that the group computes. Constants of one element become numbers.
    """
    anchor = group.anchor
    known: dict[Node, Expression] = {}
    operands: list[View] = []
    if anchor is not None and isinstance(anchor.meta["val"], torch.Tensor):
        known[anchor] = Accumulator(dtype_of(anchor))

    def read(node: Node) -> Expression:
        tensor = get_constant(graph, node)
        if tensor is not None and tensor.numel() == 1:
            return number(tensor.item(), dtype_name(tensor.dtype))
        view = broadcast(view_of(node), shape(group.output))
        if view not in operands:
            operands.append(view)
        return Operand(operands.index(view), view.buffer.dtype)

    for node in group.nodes:
        if node is anchor or _feeds(node, anchor) or node.target is operator.getitem:
            continue
        for source in node.all_input_nodes:
            if source not in known:
                known[source] = read(source)
        known[node] = apply_rule(node, known)
    return known.get(group.output, Accumulator()), tuple(operands)


def _feeds(node: Node, anchor: Node | None) -> bool:
    """Tell whether a node of a group stands in front of the anchor: padding of a convolution."""
    return anchor is not None and node in anchor.all_input_nodes
