"""Tensors behind nodes that depend on parameters and buffers only."""

import torch
from torch import Tensor
from torch.fx import Node

from prunus.passes.graph import Graph, get_constant


def is_constant(node: Node) -> bool:
    """Tell whether a node depends on parameters and buffers only."""
    return node.op == "get_attr" or (node.op == "call_function" and all(map(is_constant, node.all_input_nodes)))


def evaluate(graph: Graph, node: Node) -> Tensor:
    """Compute a node from constants."""
    constant = get_constant(graph, node)
    if constant is not None:
        return constant.detach()
    args, kwargs = torch.fx.map_arg((node.args, node.kwargs), lambda source: evaluate(graph, source))
    with torch.no_grad():
        result = node.target(*args, **kwargs)  # type: ignore[operator]
    assert isinstance(result, Tensor)
    return result
