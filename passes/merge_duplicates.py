"""Compute once what is computed twice."""

from typing import Any

import torch
from torch.fx import Node

from prunus.passes.graph import Graph, get_constant, tidy


def merge_duplicates(graph: Graph) -> Graph:
    """Let one of several equal calls stand for all; numbers stored twice (without dimensions) count as equal.

    before:  x -> mean -> a;  x -> mean -> b;  a * b
    after:   x -> mean -> a;  a * a
    """
    first: dict[Any, Node] = {}
    for node in list(graph.graph.nodes):
        key = _key(graph, node)
        if key is None:
            continue
        if key in first:
            node.replace_all_uses_with(first[key])
            graph.graph.erase_node(node)
        else:
            first[key] = node
    return tidy(graph)


def _key(graph: Graph, node: Node) -> Any:
    """Return a value that equal calls share, None for nodes that stay as they are."""
    if node.op == "get_attr":
        tensor = get_constant(graph, node)
        assert tensor is not None
        if tensor.dim() == 0 and not isinstance(tensor, torch.nn.Parameter):
            return "number", tensor.dtype, repr(tensor.item())
        return "tensor", id(tensor)
    random = torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
    if node.op != "call_function" or random:
        return None
    return node.target, repr(node.args), repr(sorted(node.kwargs.items()))
